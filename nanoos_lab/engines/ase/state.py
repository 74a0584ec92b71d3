"""The state of a run of ASE's on disk: arrays as .npz, the rest as JSON; nothing is pickled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ase import Atoms

    Array = np.ndarray[Any, Any]

ARRAYS = "arrays.npz"
VALUES = "values.json"
#: A run is renewed at a checkpoint, which costs it one more calculation, if the grid has at least so many steps. Where
#: steps are so slow that it has fewer, forces come from a self-consistent cycle, which no restart repeats to the bit.
WORTH = 50


def write(directory: Path, arrays: Mapping[str, Array], values: Mapping[str, Any]) -> None:
    """Write arrays, and values that JSON can express; floats keep every bit."""
    np.savez(directory / ARRAYS, allow_pickle=False, **arrays)
    (directory / VALUES).write_text(json.dumps(values), encoding="utf-8")


def read(directory: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read what `write` wrote.

    Raises
    ------
    OSError, ValueError
        If it is something else.
    """
    with np.load(directory / ARRAYS, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return arrays, json.loads((directory / VALUES).read_text(encoding="utf-8"))


def place(atoms: Atoms, positions: Array, cell: Array) -> None:
    """Put atoms and cell (Å) somewhere, past all constraints.

    Raises
    ------
    ValueError
        If the arrays are not of as many atoms.
    """
    if positions.shape != (len(atoms), 3) or cell.shape != (3, 3):
        raise ValueError(f"it is not one of {len(atoms)} atoms")
    atoms.arrays["positions"][:] = positions
    atoms.cell[:] = cell


def forget(calculator: Any) -> None:
    """Make a calculator start anew: neighbour lists and results of earlier steps are gone, as in a fresh process.

    ASE calls `reset` whenever atoms have moved; a calculator that keeps something then has its own `forget`.
    """
    reset = getattr(calculator, "forget", None) or getattr(calculator, "reset", None)
    if reset is not None:
        reset()
