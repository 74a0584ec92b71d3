"""From parameters to the force field: its files, the check that they fit the structure, LAMMPS's commands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from nanoos_lab.core.errors import InputError, ParameterError, StructureError, UnknownNameError
from nanoos_lab.engines.lammps import library, potentials
from nanoos_lab.engines.lammps.failures import NEIGHBORS
from nanoos_lab.engines.paths import users_path

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from nanoos_lab.engines.lammps.parameters import PotentialParameters
    from nanoos_lab.engines.lammps.potentials import Potential


def style(parameters: PotentialParameters) -> str:
    """Return the LAMMPS pair style of the parameters.

    Raises
    ------
    ParameterError
        If it is neither given nor clear from the file's ending.
    """
    if parameters.kim_model is not None:
        return "kim"
    if not parameters.names:
        return "lj/cut"
    name = os.path.basename(parameters.names[-1])
    found = parameters.pair_style or potentials.style_of(name)
    if found is None:
        endings = ", ".join(sorted(potentials.STYLES))
        raise ParameterError("pair_style", None, f"needed, since {name!r} ends with none of {endings}")
    if found not in potentials.NAMES:
        raise UnknownNameError("pair_style", found, potentials.NAMES)
    return found


def unit_system(parameters: PotentialParameters) -> Literal["metal", "real"]:
    """Return LAMMPS's unit system that a run has with these parameters."""
    return "real" if style(parameters) in potentials.REAL else "metal"


def charged(parameters: PotentialParameters) -> bool:
    """Whether the atoms have charges with these parameters."""
    return style(parameters) == "reaxff"


def files(parameters: PotentialParameters) -> dict[str, Path]:
    """Find the potential files, by their role.

    Raises
    ------
    UnknownNameError
        If no potential of that name comes with LAMMPS; carries the nearest.
    ParameterError
        If there is no file at a path, or the pair style wants another number of files.
    """
    paths = [find(name) for name in parameters.names]
    kind = style(parameters)
    if kind == "meam":
        return _meam_files(paths)
    if len(paths) > 1 and kind != "eam":
        names = list(parameters.names)
        raise ParameterError("potential", names, f"one file, since pair style {kind!r} takes no more")
    return {role(index): path for index, path in enumerate(paths)}


def role(index: int) -> str:
    """Return the role of the potential file with that index."""
    return f"potential_{index + 1}" if index else "potential"


def _meam_files(paths: Sequence[Path]) -> dict[str, Path]:
    if len(paths) > 2:
        raise ParameterError("potential", [path.name for path in paths], "a MEAM library and a parameter file")
    if len(paths) == 2:
        return {"library": paths[0], "parameters": paths[1]}
    if paths[0].name.startswith("library"):
        return {"library": paths[0]}
    beside = paths[0].with_name("library.meam")
    return {"library": beside if beside.is_file() else find("library.meam"), "parameters": paths[0]}


def find(name: str) -> Path:
    """Find a potential file: one at a path or in the current directory, or one that comes with LAMMPS."""
    given = users_path(name, "potential")
    folder = library.potentials_folder()
    if given.name == name and folder is not None and (folder / name).is_file() and not given.is_file():
        return folder / name
    if given.is_file():
        return given.absolute()
    if given.name != name or folder is None:
        raise ParameterError("potential", name, f"there is no file {given.absolute()}")
    known = [path.name for path in folder.iterdir() if potentials.style_of(path.name)]
    raise UnknownNameError("LAMMPS potential", name, known)


def read(parameters: PotentialParameters, found: Mapping[str, Path]) -> dict[str, Potential]:
    """Read the potential files, by role; parameter files of MEAM are left to LAMMPS.

    Raises
    ------
    ParameterError
        If a file cannot be read or is something else.
    """
    kind = style(parameters)
    return {role: _read_one(path, kind) for role, path in found.items() if role != "parameters"}


def _read_one(path: Path, kind: str) -> Potential:
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            potential = potentials.parse(lines, kind)
    except OSError as error:
        raise ParameterError("potential", path.name, f"it cannot be read: {error.strerror}") from None
    except InputError as error:
        raise ParameterError("potential", path.name, str(error)) from None
    wanted = "real" if kind in potentials.REAL else "metal"
    if potential.units != wanted:
        raise ParameterError("potential", path.name, f"it is in units {potential.units!r}, not {wanted!r}")
    return potential


def check(parameters: PotentialParameters, read_files: Mapping[str, Potential], symbols: Collection[str]) -> None:
    """Raise unless the potential has all elements of the structure.

    Raises
    ------
    StructureError
        Names the elements that are missing and those that the file has.
    ParameterError
        If MEAM's `elements` are needed, or not in its library.
    """
    if parameters.kim_model is not None:
        # What an installed model has is known where it is installed.
        return
    if not parameters.names:
        if len(set(symbols)) > 1:
            raise StructureError("potential='lj' is for one element; the structure has " + _listed(symbols))
        return
    known = {symbol for potential in read_files.values() for symbol in potential.elements.values()}
    missing = sorted(set(symbols) - known)
    if missing:
        raise StructureError(
            f"the potential {_listed(parameters.names)} has nothing for {_listed(missing)}; it is for {_listed(known)}"
        )
    for potential in read_files.values():
        gap = next((triple for triple in potential.gaps if set(triple) <= set(symbols)), None)
        if gap:
            raise StructureError(f"the potential {_listed(parameters.names)} has nothing for {'-'.join(gap)}")
    if parameters.elements is not None and "library" not in read_files:
        raise ParameterError("elements", list(parameters.elements), "only with a MEAM potential")
    if "library" in read_files:
        _check_meam(parameters, read_files["library"], symbols)


def cutoff(
    parameters: PotentialParameters,
    found: Mapping[str, Path],
    read_files: Mapping[str, Potential],
    symbols: Collection[str],
) -> float | None:
    """Return the distance in Å beyond which atoms do not act on each other; None if nobody knows at submit.

    Parameters
    ----------
    parameters
        The task's.
    found, read_files
        The potential files by role, and what they say of themselves.
    symbols
        The elements of the structure.
    """
    if parameters.data is not None or parameters.kim_model is not None:
        return None
    if not parameters.names:
        return _end_of_lennard_jones(parameters)
    if style(parameters) == "meam":
        if "parameters" not in found:
            return potentials.meam_cutoff(())
        with found["parameters"].open(encoding="utf-8", errors="replace") as lines:
            return potentials.meam_cutoff(lines)
    return max(filter(None, (potential.cutoff(symbols) for potential in read_files.values())), default=None)


def _end_of_lennard_jones(parameters: PotentialParameters) -> float:
    return parameters.cutoff or 3.0 * (parameters.sigma or 0.0)


def _check_meam(parameters: PotentialParameters, known: Potential, symbols: Collection[str]) -> None:
    if parameters.elements is None:
        if len(set(symbols)) > 1:
            raise ParameterError(
                "elements", None, "the library's names, in the order in which the parameter file counts them"
            )
        return
    for name in parameters.elements:
        if name not in known.elements:
            raise UnknownNameError("name in the MEAM library", name, known.elements)
    missing = sorted(set(symbols) - {known.elements[name] for name in parameters.elements})
    if missing:
        raise ParameterError("elements", list(parameters.elements), f"must cover {_listed(missing)} too")


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))


def commands(
    parameters: PotentialParameters,
    found: Mapping[str, str],
    read_files: Mapping[str, Potential],
    types: Sequence[str],
) -> list[str]:
    """Return LAMMPS's commands for the force field.

    Parameters
    ----------
    parameters
        The task's.
    found
        The potential files by role, as they are to be named in the commands.
    read_files
        What they say of themselves.
    types
        Chemical symbol of each atom type.
    """
    return [*_pairs(parameters, found, read_files, types), *room(parameters)]


def room(parameters: PotentialParameters) -> list[str]:
    """Return the command that makes room for more neighbours than LAMMPS has by itself, if they are wanted."""
    if parameters.neighbors == NEIGHBORS:
        return []
    return [f"neigh_modify one {parameters.neighbors} page {50 * parameters.neighbors}"]


def _pairs(
    parameters: PotentialParameters,
    found: Mapping[str, str],
    read_files: Mapping[str, Potential],
    types: Sequence[str],
) -> list[str]:
    if parameters.kim_model is not None:
        return [f"pair_style kim {parameters.kim_model}", " ".join(["pair_coeff * *", *types])]
    if not parameters.names:
        return _lennard_jones(parameters)
    kind = style(parameters)
    if kind == "reaxff":
        return _reaxff(found["potential"], types)
    if kind == "eam":
        coefficients = [
            f'pair_coeff {number} {number} "{_file_for(symbol, found, read_files)}"'
            for number, symbol in enumerate(types, start=1)
        ]
        return ["pair_style eam", *coefficients]
    if kind == "meam":
        return ["pair_style meam", _meam(parameters, found, read_files["library"], types)]
    names = [read_files["potential"].name_of(symbol) for symbol in types]
    return [
        f"pair_style {kind}",
        " ".join(['pair_coeff * * "{}"'.format(found["potential"]), *map(str, names)]),
    ]


def _lennard_jones(parameters: PotentialParameters) -> list[str]:
    return [
        f"pair_style lj/cut {_end_of_lennard_jones(parameters)!r}",
        # As in ASE's LennardJones: no jump of the energy where the forces end.
        "pair_modify shift yes",
        f"pair_coeff * * {parameters.epsilon!r} {parameters.sigma or 0.0!r}",
    ]


def _reaxff(file: str, types: Sequence[str]) -> list[str]:
    return [
        # Room to spare: atoms react, and then have other neighbours.
        "pair_style reaxff NULL safezone 1.6 mincap 100",
        " ".join([f'pair_coeff * * "{file}"', *types]),
        # Charges follow the atoms at every step (manual, page ``fix qeq/reaxff``).
        "fix charges all qeq/reaxff 1 0.0 10.0 1.0e-6 reaxff",
    ]


def _file_for(symbol: str, found: Mapping[str, str], read_files: Mapping[str, Potential]) -> str:
    return next(found[role] for role, potential in read_files.items() if potential.name_of(symbol))


def _meam(parameters: PotentialParameters, found: Mapping[str, str], known: Potential, types: Sequence[str]) -> str:
    names = parameters.elements or tuple(str(known.name_of(symbol)) for symbol in dict.fromkeys(types))
    per_type = [next(name for name in names if known.elements[name] == symbol) for symbol in types]
    second = f'"{found["parameters"]}"' if "parameters" in found else "NULL"
    return " ".join([f'pair_coeff * * "{found["library"]}"', *names, second, *per_type])
