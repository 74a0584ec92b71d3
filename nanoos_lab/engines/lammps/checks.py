"""What the parameters ask of a structure, checked before anything is queued."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.geometry.minkowski_reduction import minkowski_reduce

from nanoos_lab.core.errors import InputError, StructureError, UnknownNameError
from nanoos_lab.engines import distances
from nanoos_lab.engines.lammps import styles
from nanoos_lab.engines.lammps.box import Box
from nanoos_lab.engines.lammps.parameters import LammpsMDParameters, PotentialParameters
from nanoos_lab.engines.lammps.script import rules
from nanoos_lab.engines.lammps.script.text import lines_of, words_of
from nanoos_lab.engines.lammps.system import fixed_atoms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from nanoos_lab.core.parameters import TaskParameters

    Array = np.ndarray[Any, Any]

#: Commands of their own that users may have before a run.
_OWN = frozenset(("compute", "compute_modify", "fix", "fix_modify", "group", "region", "variable"))
#: Keywords of ``thermo_style custom`` (manual, page ``thermo_style``).
_THERMO = (
    "elapsed elaplong dt time cpu tpcpu spcpu cpuremain part timeremain atoms temp press pe ke etotal evdwl ecoul "
    "epair ebond eangle edihed eimp emol elong etail enthalpy ecouple econserve vol density xlo xhi ylo yhi zlo zhi "
    "xy xz yz avecx avecy avecz bvecx bvecy bvecz cvecx cvecy cvecz lx ly lz xlat ylat zlat cella cellb cellc "
    "cellalpha cellbeta cellgamma pxx pyy pzz pxy pxz pyz bonds angles dihedrals impropers fmax fnorm nbuild "
    "ndanger"
)
_KEYWORDS = frozenset(_THERMO.split())
#: What LAMMPS and this engine define by themselves.
_DEFINED = {"c": {"thermo_temp", "thermo_press", "thermo_pe", "virial"}, "f": {"integrate"}, "v": set[str]()}
#: Names that this engine gives, by the command that gives them; others of its own begin with the prefix.
_TAKEN = {
    "compute": {"mobile_temp", "thermo_pe", "thermo_press", "thermo_temp", "virial"},
    "fix": {"bath", "charges", "hold", "integrate", "strain"},
    "group": {"all", "fixed", "mobile"},
}
_PREFIX = "nanoos_"
#: Beginnings of the styles of fixes that move atoms in time, as this engine's own does.
_INTEGRATORS = ("move", "nph", "npt", "nve", "nvk", "nvt", "rigid")
_LETTER = {"compute": "c", "fix": "f", "variable": "v"}
_REFERENCE = re.compile(r"([cfv])_(\w+)((?:\[\d+\]){0,2})")


def check_motion(atoms: Atoms, parameters: TaskParameters) -> None:
    """Raise unless the constraints can be kept and the cell can change if it is to.

    Raises
    ------
    StructureError
        Says what is in the way.
    """
    fixed = fixed_atoms(atoms)
    strained = getattr(parameters, "strain_rate", None)
    free, ensemble = getattr(parameters, "cell", ""), getattr(parameters, "ensemble", "")
    if free != "free" and ensemble != "npt" and not strained:
        return
    if not atoms.pbc.all():
        raise StructureError(f"a cell can change only if it is periodic in all directions; pbc is {atoms.pbc.tolist()}")
    if len(fixed):
        raise StructureError("atoms cannot be fixed in a cell that changes: they would move with it")
    if strained and np.any(tilt := np.tril(Box.around(atoms).cell, -1)):
        raise StructureError(f"strain_rate needs an orthogonal cell; this one is skewed by {np.abs(tilt).max():.3g} Å")


def check_images(atoms: Atoms, cutoff: float | None) -> None:
    """Raise if an atom acts on an image of itself, which moves as it does.

    The energy is right all the same, since LAMMPS counts as many images as there are; so are the forces, if all images
    are to move alike. In molecular dynamics they are not: that is why it is asked for there.

    Parameters
    ----------
    atoms
        The structure.
    cutoff
        The distance in Å beyond which atoms do not act on each other; None if nobody knows.

    Raises
    ------
    StructureError
        Says how near the image is, and how often the cell must be repeated.
    """
    if cutoff is None or not atoms.pbc.any():
        return
    vectors, _ = minkowski_reduce(atoms.cell.complete(), atoms.pbc)
    near = float(np.linalg.norm(vectors[atoms.pbc], axis=1).min())
    if near < cutoff:
        times = _repeats(atoms, near, cutoff)
        raise StructureError(
            f"the cell is too thin for molecular dynamics with this potential: an atom is {near:.2f} Å from an image "
            f"of itself, and forces reach up to {cutoff:.2f} Å. Repeat it, as by atoms.repeat({times}), or pass "
            "thin_cell=True if all images are to move alike"
        )


def _repeats(atoms: Atoms, near: float, cutoff: float) -> tuple[int, ...]:
    """Return how often a cell must be repeated so that all images are as far away as forces reach.

    So often that its planes are that far apart, or as often in each direction as scales the way to the nearest image.
    """
    heights = 1.0 / np.linalg.norm(np.linalg.inv(atoms.cell.complete()), axis=0)
    times = [min(math.ceil(cutoff / height), math.ceil(cutoff / near)) for height in heights]
    return tuple(number if there else 1 for number, there in zip(times, atoms.pbc, strict=True))


def check_own(parameters: LammpsMDParameters) -> None:
    """Raise if the user's own commands or columns cannot be.

    Raises
    ------
    InputError
        Names the command or column, and why.
    """
    defined = {letter: set(names) for letter, names in _DEFINED.items()}
    for number, command in enumerate(parameters.commands, start=1):
        try:
            words = [word.text for word in _checked(command)]
        except InputError as error:
            raise InputError(f"commands, number {number}: {error}") from None
        if words[0] in _LETTER and len(words) > 1:
            defined[_LETTER[words[0]]].add(words[1])
    for column in parameters.columns:
        _check_column(column, defined)


def _checked(command: str) -> Sequence[Any]:
    lines = lines_of(command)
    if len(lines) != 1 or "\n" in command or command.rstrip().endswith("&"):
        raise InputError(f"{command!r} must be one command")
    if "$" in command:
        raise InputError(f"'$' is refused in {command!r}: nobody could check what it stands for; v_name works")
    words = words_of(lines[0].text)
    name = words[0].text
    if name not in _OWN:
        raise UnknownNameError("command before a run", name, _OWN)
    rules.check_command(words)
    texts = [word.text for word in words]
    check_own_name(texts)
    styles.check_command(texts)
    return words


def check_own_name(words: Sequence[str]) -> None:
    """Raise if a command takes a name of this engine, or moves the atoms a second time."""
    if len(words) > 1 and (words[1].startswith(_PREFIX) or words[1] in _TAKEN.get(words[0], ())):
        raise InputError(f"{words[0]} {words[1]!r} is a name of this engine's own; choose another")
    if words[0] == "fix" and len(words) > 3 and words[3].startswith(_INTEGRATORS):
        raise InputError(f"fix style {words[3]!r} would move the atoms a second time; ensemble= says how they move")


def _check_column(column: str, defined: dict[str, set[str]]) -> None:
    found = _REFERENCE.fullmatch(column)
    if found is None:
        if column not in _KEYWORDS:
            raise UnknownNameError("column", column, _KEYWORDS)
        return
    letter, name = found.group(1), found.group(2)
    if name not in defined[letter]:
        known = [f"{letter}_{other}" for other in defined[letter]]
        raise UnknownNameError("column", f"{letter}_{name}", known)


def check(atoms: Atoms, task: str, parameters: TaskParameters) -> None:
    """Raise an InputError if a structure does not suit a task or its parameters."""
    distances.check(atoms, _limit(parameters))
    if task != "static":
        check_motion(atoms, parameters)
    if isinstance(parameters, LammpsMDParameters):
        check_own(parameters)


def _limit(parameters: TaskParameters) -> float:
    """Return the distance in Å below which atoms overlap."""
    sigma = parameters.sigma if isinstance(parameters, PotentialParameters) else None
    return distances.NEAREST if sigma is None else distances.nearest_of(sigma)
