"""A structure as an immutable value: canonical bytes, digest, formula, and back to `ase.Atoms`.

The bytes are a JSON head line followed by the raw little-endian arrays in the order of their names, so that
equal structures have equal bytes, and nothing needs unpickling.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nanoos_lab.core.errors import StructureError

if TYPE_CHECKING:
    from ase import Atoms

_MAGIC = b"nanoos-structure-1\n"
#: Arrays that are part of a structure, and their dtype; all but the cell have one row per atom.
_ARRAYS = {
    "numbers": "<i8",
    "positions": "<f8",
    "cell": "<f8",
    "momenta": "<f8",
    "masses": "<f8",
    "tags": "<i8",
    "initial_magmoms": "<f8",
    "initial_charges": "<f8",
}
#: Largest coordinate and component of a cell vector to begin with, in Å.
FARTHEST = 1e6


@dataclass(frozen=True)
class Structure:
    """A structure that no one can change any more; compares by content.

    Parameters
    ----------
    data
        The canonical bytes, as `Structure.encode` makes them.
    """

    #: The canonical bytes.
    data: bytes

    @classmethod
    def encode(cls, atoms: Atoms) -> Self:
        """Freeze an `ase.Atoms`.

        Parameters
        ----------
        atoms
            Positions in Å, cell in Å, momenta in ASE's units.

        Raises
        ------
        StructureError
            If it is no `ase.Atoms`, has no atoms, has values that are not finite, a periodic direction without
            length, or a constraint that cannot be stored.
        """
        check(atoms)
        found = {**atoms.arrays, "cell": atoms.cell.array}
        # Adding zero makes -0.0 and 0.0, which are equal, the same bytes.
        arrays = {
            name: np.ascontiguousarray(found[name], dtype=dtype) + 0 for name, dtype in _ARRAYS.items() if name in found
        }
        head = {
            "arrays": {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()},
            "constraints": [_described(constraint, len(atoms)) for constraint in atoms.constraints],
            "formula": _formula(atoms.numbers),
            "pbc": [bool(flag) for flag in atoms.pbc],
        }
        text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
        return cls(b"".join([_MAGIC, text, b"\n", *(arrays[name].tobytes() for name in sorted(arrays))]))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def formula(self) -> str:
        """Chemical formula in Hill notation."""
        return str(self._head["formula"])

    @property
    def natoms(self) -> int:
        """Number of atoms."""
        return int(self._head["arrays"]["numbers"][1][0])

    @property
    def pbc(self) -> tuple[bool, bool, bool]:
        """Periodicity along the three cell vectors."""
        first, second, third = self._head["pbc"]
        return first, second, third

    @property
    def constraints(self) -> list[Any]:
        """Constraints, as ASE's dictionaries."""
        return list(self._head["constraints"])

    @cached_property
    def elements(self) -> frozenset[str]:
        """Chemical symbols that occur."""
        from ase.data import chemical_symbols

        return frozenset(chemical_symbols[number] for number in np.unique(self.arrays()["numbers"]))

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return read-only views of the arrays, by name."""
        found: dict[str, np.ndarray[Any, Any]] = {}
        described = self._head["arrays"]
        start = self.data.index(b"\n", len(_MAGIC)) + 1
        for name, (dtype, shape) in described.items():
            count = int(np.prod(shape))
            found[name] = np.frombuffer(self.data, dtype=dtype, count=count, offset=start).reshape(shape)
            start += found[name].nbytes
        return found

    def atoms(self) -> Atoms:
        """Return a new `ase.Atoms` equal to the one that was frozen, without its calculator."""
        from ase import Atoms
        from ase.constraints import dict2constraint

        arrays = {name: array.copy() for name, array in self.arrays().items()}
        atoms = Atoms(
            numbers=arrays.pop("numbers"),
            positions=arrays.pop("positions"),
            cell=arrays.pop("cell"),
            pbc=self._head["pbc"],
            constraint=[dict2constraint(data) for data in self._head["constraints"]],
        )
        for name, array in arrays.items():
            atoms.set_array(name, array)
        return atoms

    @cached_property
    def _head(self) -> dict[str, Any]:
        if not self.data.startswith(_MAGIC):
            raise StructureError("these bytes are not a stored structure")
        head: dict[str, Any] = json.loads(self.data[len(_MAGIC) : self.data.index(b"\n", len(_MAGIC))])
        return head


def check(atoms: object) -> None:
    """Raise a StructureError if no engine could run this structure."""
    from ase import Atoms

    if not isinstance(atoms, Atoms):
        kind = f"{type(atoms).__module__}.{type(atoms).__qualname__}"
        raise StructureError(f"structure must be an ase.Atoms, not {kind}; ase.io.read() makes one from a file")
    if len(atoms) == 0:
        raise StructureError("structure has no atoms")
    _check_arrays(atoms)
    _check_cell(atoms)


def check_extent(structure: Structure) -> None:
    """Raise a StructureError if a structure to begin with is so large that digits of its distances are lost."""
    arrays = structure.arrays()
    if (np.abs(arrays["cell"]) > FARTHEST).any():
        raise StructureError(f"a cell vector is longer than {FARTHEST:g} Å: {arrays['cell'].tolist()}")
    far = (np.abs(arrays["positions"]) > FARTHEST).any(axis=1)
    if far.any():
        raise StructureError(f"atom {int(np.argmax(far))} is farther than {FARTHEST:g} Å from the origin")


def _check_arrays(atoms: Atoms) -> None:
    from ase.data import chemical_symbols

    for name in sorted(_ARRAYS.keys() & atoms.arrays.keys()):
        _check_kind(name, atoms.arrays[name], len(atoms))
    bad = ~np.isfinite(atoms.positions).all(axis=1)
    if bad.any():
        first = int(np.argmax(bad))
        raise StructureError(
            f"positions of {int(bad.sum())} atom(s) are not finite numbers, the first is atom {first}: "
            f"{atoms.positions[first].tolist()}"
        )
    for name in sorted(_ARRAYS.keys() & atoms.arrays.keys()):
        if not np.isfinite(atoms.arrays[name]).all():
            raise StructureError(f"{name} of the structure are not all finite numbers")
    if atoms.numbers.min() < 0 or atoms.numbers.max() >= len(chemical_symbols):
        raise StructureError(f"atomic numbers of the structure must be 0 to {len(chemical_symbols) - 1}")
    if "masses" in atoms.arrays and (atoms.arrays["masses"] <= 0).any():
        raise StructureError("masses of the structure must all be > 0")


def _check_kind(name: str, array: np.ndarray[Any, Any], natoms: int) -> None:
    """Raise a StructureError for an array that is not one of real numbers with a row for each atom."""
    shapes: dict[str, list[tuple[int, ...]]] = {
        "positions": [(natoms, 3)],
        "momenta": [(natoms, 3)],
        "initial_magmoms": [(natoms,), (natoms, 3)],
    }
    possible = shapes.get(name, [(natoms,)])
    if array.shape not in possible:
        raise StructureError(f"{name} of the structure have the shape {array.shape}, not {possible[0]}")
    if array.dtype.kind not in "biuf":
        raise StructureError(f"{name} of the structure are not real numbers: their dtype is {array.dtype}")
    whole = _ARRAYS[name] == "<i8"
    if whole and array.dtype.kind == "f" and not ((np.abs(array) < 2**53) & (array == np.rint(array))).all():
        raise StructureError(f"{name} of the structure must be integers")


def _check_cell(atoms: Atoms) -> None:
    if not np.isfinite(atoms.cell.array).all():
        raise StructureError(f"cell is not finite: {atoms.cell.array.tolist()}")
    with np.errstate(over="ignore"):
        volume = abs(atoms.cell.volume)
    if atoms.pbc.all() and volume < 1e-8:
        raise StructureError("the cell of a periodic structure has no volume; set atoms.cell or atoms.pbc = False")
    for axis in np.flatnonzero(atoms.pbc):
        if np.linalg.norm(atoms.cell.array[axis]) < 1e-8:
            raise StructureError(f"structure is periodic along axis {axis}, but its cell vector there has no length")


def _formula(numbers: np.ndarray[Any, Any]) -> str:
    """Return the formula in Hill notation; ASE's own way takes seconds for a million atoms."""
    from ase.data import chemical_symbols
    from ase.formula import Formula

    found, counts = np.unique(numbers, return_counts=True)
    symbols = {chemical_symbols[number]: int(count) for number, count in zip(found, counts, strict=True)}
    return str(Formula.from_dict(symbols).format("hill"))


def _described(constraint: Any, natoms: int) -> Any:
    """Return a constraint of ASE as plain values from which ASE can make it again."""
    named = np.ravel(getattr(constraint, "index", []))
    if named.size and named.dtype.kind in "iu" and (named.min() < -natoms or named.max() >= natoms):
        kind = type(constraint).__qualname__
        raise StructureError(f"constraint {kind} names atoms {named.tolist()[:5]}, but there are only {natoms} atoms")
    try:
        found = _plain(constraint.todict())
        json.dumps(found, allow_nan=False)
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        found = None
    if not found:
        kind = type(constraint).__qualname__
        raise StructureError(f"constraint {kind} cannot be stored: its todict() gives no plain values")
    return found


def _plain(value: Any) -> Any:
    """Turn numpy scalars and arrays inside a constraint's dictionary into plain values."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value
