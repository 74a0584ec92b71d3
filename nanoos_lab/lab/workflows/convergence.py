"""Convergence test: how a result changes with one parameter of the calculation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import ParameterError, UnknownNameError
from nanoos_lab.core.units import unit_of
from nanoos_lab.lab.group import Group
from nanoos_lab.lab.lab import default_lab

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from ase import Atoms

    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab


class ConvergenceTest(Group):
    """The jobs of a convergence test, from the coarsest to the finest."""

    def table(self, quantity: str = "energy") -> pd.DataFrame:
        """Return a scalar result by the parameter, and how far it is from that of the last value.

        Parameters
        ----------
        quantity
            Name of the result; an energy is that of one atom, since a structure may be the parameter.

        Returns
        -------
        pandas.DataFrame
            Indexed by the parameter: the quantity, and its `difference` to the last row; ``attrs["units"]`` has the
            units.

        Raises
        ------
        JobError
            If a job has not succeeded.
        UnknownNameError
            If the jobs have no such scalar result.
        """
        import pandas as pd

        records = self.succeeded()
        known = {name for name, value in records[-1].scalars.items() if _is_number(value)}
        if quantity not in known:
            raise UnknownNameError("scalar result", quantity, known)
        unit = unit_of(quantity)
        per_atom = quantity.endswith("energy") and unit == "eV"
        values = [float(record.scalars[quantity]) / (record.atoms if per_atom else 1) for record in records]
        ((name, axis),) = self.columns.items()
        frame = pd.DataFrame(
            {quantity: values, "difference": [value - values[-1] for value in values]}, index=pd.Index(axis, name=name)
        )
        shown = f"{unit}/atom" if per_atom else unit
        frame.attrs["units"] = {quantity: shown, "difference": shown, **self.units}
        return frame

    def converged(self, within: float, quantity: str = "energy") -> Any:
        """Return the first value of the parameter from which on the result stays near that of the last.

        Parameters
        ----------
        within
            Largest difference, in the unit of `table`.
        quantity
            Name of the result.

        Returns
        -------
        object
            The value; None if only the last one is that near to itself.
        """
        differences = self.table(quantity)["difference"].abs()
        first = len(differences) - 1
        while first > 0 and differences.iloc[first - 1] <= within:
            first -= 1
        return differences.index[first] if first < len(differences) - 1 else None


def convergence_test(
    structure: Atoms | Job | None = None,
    *,
    over: Mapping[str, Iterable[Any]],
    lab: Lab | None = None,
    **fixed: Any,
) -> ConvergenceTest:
    """Submit the same calculation with several values of one parameter, the last one the finest.

    ``group.wait().table()`` has the differences to the last, ``group.converged(1e-3)`` the value that will do.

    Parameters
    ----------
    structure
        What to simulate.
    over
        The one parameter's name, such as a cut-off or the k-points, and its values from the coarsest to the finest.
    lab
        Where to; the default lab unless given.
    **fixed
        What else `Lab.submit` takes.

    Raises
    ------
    InputError
        If there is not one parameter, or a job cannot be carried out; nothing was stored or queued.
    """
    if not isinstance(over, Mapping) or len(over) != 1:
        raise ParameterError("over", over, "one parameter and its values, such as {'cutoff': [4, 6, 8]}")
    group = (lab or default_lab()).sweep(structure, over=over, **fixed)
    return ConvergenceTest(group.lab, group.ids, group.columns, group.units)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
