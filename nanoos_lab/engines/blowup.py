"""When molecular dynamics has blown up: one rule for all engines, and a way around.

Too long a time step, or atoms too near to each other, put ever more energy into the motion; most programs go on.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.record import Correction
from nanoos_lab.core.status import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What a user can do next.
REMEDY = "Use a smaller timestep, relax the structure first (task='relax'), or check it for atoms that overlap."
#: Temperature in K above which a run has blown up, unless it began as hot as a part of that or is to become so: the
#: kinetic energy of an atom is then more than any bond has.
_TOO_HOT, _PART = 1e5, 20.0
#: Shortest time step in fs at which corrections end.
_SHORTEST = 0.05


class Guard:
    """Raises when a run has blown up.

    Parameters
    ----------
    parameters
        Those of the task: they say what the run heads for, and a correction is made from them. Where there is an
        `epsilon`, it is the strength of a bond in eV, and may be anything.
    """

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        from ase.units import kB

        self._parameters = parameters
        self._hottest = _TOO_HOT
        bond = (parameters.get("epsilon") or 0.0) / kB
        self.expect(bond, parameters.get("temperature"), parameters.get("temperature_end"))

    def expect(self, *temperatures: float | None) -> None:
        """Note that the run heads for temperatures in K, or that the attempt begins with them; None says nothing."""
        self._hottest = max(self._hottest, *(_PART * (one or 0.0) for one in temperatures))

    def check(self, step: int, temperature: float, *energies: float) -> None:
        """Look at the run, which may begin at step 0 with any temperature.

        Parameters
        ----------
        step
            The step.
        temperature
            In K.
        energies
            More that must be finite.

        Raises
        ------
        EngineError
            If one is no longer finite, or the atoms are hotter than any run heads for.
        """
        if not all(map(math.isfinite, (temperature, *energies))):
            raise not_finite(step, self._parameters)
        if step == 0:
            self.expect(temperature)
        if temperature > self._hottest:
            raise _error(f"the temperature is {temperature:.3g} K at step {step}", self._parameters)


def calmer(parameters: Mapping[str, Any]) -> Correction | None:
    """Halve the time step, and relax first where the task can; for molecular dynamics that has blown up."""
    before = parameters.get("timestep")
    if before is None or before / 2 < _SHORTEST:
        return None
    why = f"the atoms flew apart, so the time step is halved from {before:g} to {before / 2:g} fs"
    if "minimize_first" not in parameters:
        return Correction(changes={"timestep": before / 2}, why=why, from_start=True)
    if not parameters["minimize_first"]:
        why += ", and the structure is relaxed a little before the first step"
    return Correction(changes={"timestep": before / 2, "minimize_first": True}, why=why, from_start=True)


def not_finite(step: int, parameters: Mapping[str, Any]) -> EngineError:
    """Return the error for numbers that are no longer finite."""
    return _error(f"energies are no longer finite numbers at step {step}", parameters)


def _error(why: str, parameters: Mapping[str, Any]) -> EngineError:
    return EngineError(
        f"the simulation blew up: {why}", reason=Reason.ENGINE, remedy=REMEDY, correction=calmer(parameters)
    )
