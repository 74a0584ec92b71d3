"""Which potentials there are for some elements, as a DataFrame."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from ase.data import atomic_numbers

from nanoos_lab.core.errors import InputError, UnknownNameError
from nanoos_lab.engines import registry
from nanoos_lab.engines.base import ListsPotentials

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from ase import Atoms

_COLUMNS = ("kind", "elements", "units", "citation")


def potentials(elements: Atoms | str | Iterable[str], engine: str) -> pd.DataFrame:
    """Return the potentials of an engine that have all of some elements.

    Parameters
    ----------
    elements
        Chemical symbols, one of them, or a structure.
    engine
        Name of the engine.

    Returns
    -------
    pandas.DataFrame
        A row for each, indexed by ``name``, which is what ``potential=``, or the engine's own parameter, takes;
        columns ``kind`` (such as LAMMPS's pair style), ``elements``, ``units`` and ``citation``.

    Raises
    ------
    UnknownNameError
        If there is no such element or engine.
    InputError
        If the engine has no potentials to choose from.
    """
    import pandas as pd

    adapter = registry.get(engine)
    if not isinstance(adapter, ListsPotentials):
        raise InputError(f"engine {engine!r} has no potentials to choose from")
    rows = [asdict(info) for info in adapter.potentials(_symbols(elements))]
    return pd.DataFrame(rows, columns=["name", *_COLUMNS]).set_index("name")


def _symbols(elements: Atoms | str | Iterable[str]) -> list[str]:
    if isinstance(elements, str):
        elements = [elements]
    symbols = sorted({str(symbol) for symbol in getattr(elements, "symbols", elements)})
    for symbol in symbols:
        if symbol not in atomic_numbers or symbol == "X":
            raise UnknownNameError("element", symbol, [known for known in atomic_numbers if known != "X"])
    return symbols
