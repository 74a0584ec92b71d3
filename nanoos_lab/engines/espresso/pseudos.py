"""From the user's choice to pseudopotential files: found, unambiguous, of the right element, and as they were made.

A family is a directory of UPF files. A table beside them, in JSON, may say which file is for which element, its MD5 or
SHA-256, and which cut-offs it needs; the tables of SSSP (https://doi.org/10.1038/s41524-018-0127-2) have this form::

    {"Si": {"filename": "Si.UPF", "md5": "…", "cutoff_wfc": 30.0, "cutoff_rho": 240.0}, …}
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase.data import atomic_numbers

from nanoos_lab.core.errors import InputError, ParameterError, StructureError, UnknownNameError
from nanoos_lab.engines import program
from nanoos_lab.engines.base import PotentialInfo
from nanoos_lab.engines.espresso import upf
from nanoos_lab.engines.paths import users_path

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from nanoos_lab.engines.espresso.upf import Header

#: Variables that name the directory of pseudopotentials, ours first, then pw.x's own.
VARIABLES = ("NANOOS_PSEUDO_DIR", "ESPRESSO_PSEUDO")
#: Where pw.x's packages have them, from the directory of the program.
_BESIDE = ("../share/espresso/pseudo", "../pseudo")
#: Role of the table among the input files.
TABLE = "family"
_PREFIX = "pseudo_"


@dataclass(frozen=True, kw_only=True)
class Pseudo:
    """One pseudopotential."""

    #: Its file name.
    name: str
    #: What it is for.
    header: Header


@dataclass(frozen=True, kw_only=True)
class Cutoffs:
    """Cut-offs that a family recommends for some elements, in Ry."""

    #: For the wave functions.
    wfc: float
    #: For the charge density; None: the table does not say.
    rho: float | None


def role(element: str) -> str:
    """Return the role of an element's pseudopotential among the input files."""
    return _PREFIX + element


def directory(given: str | None) -> Path | None:
    """Return the directory of the pseudopotentials: the given one, else that of a variable, else that beside pw.x.

    Raises
    ------
    ParameterError
        If the given one is not there, or one that a variable names.
    """
    named = _named_directory(given)
    if named is not None:
        return named
    where = program.find("pw.x")
    beside = [Path(os.path.normpath(where.resolve().parent / place)) for place in _BESIDE] if where else []
    return next((place for place in beside if place.is_dir()), None)


def is_named(given: str | None) -> bool:
    """Say whether somebody has named the directory of the pseudopotentials: it is not just that beside pw.x."""
    return _named_directory(given) is not None


def _named_directory(given: str | None) -> Path | None:
    if given is not None:
        place = users_path(given, "pseudopotentials")
        if not place.is_dir():
            raise ParameterError("pseudopotentials", given, f"there is no directory {Path(given).absolute()}")
        return place.resolve()
    for variable in VARIABLES:
        if named := os.environ.get(variable):
            if not Path(named).is_dir():
                raise ParameterError(variable, named, f"there is no directory {Path(named).absolute()}")
            return Path(named)
    return None


def choose(
    elements: Collection[str],
    *,
    place: Path | None,
    named: Mapping[str, str],
    family: str | None,
    alone: bool = True,
) -> dict[str, Path]:
    """Return the input files by their role: a pseudopotential for each element, and the table, if there is one.

    Parameters
    ----------
    elements
        Chemical symbols of the structure.
    place
        The directory, see `directory`.
    named
        Files for some elements: names in the directory, or paths.
    family
        Name of the table without its ending, where the directory has several.
    alone
        Whether the only table of the directory, or the only file for an element, is chosen with the directory.

    Raises
    ------
    InputError
        If there is none for an element, or several; or a file is not what the table says, or of another element.
    """
    files = {role(symbol): _named(symbol, name, place) for symbol, name in named.items() if symbol in elements}
    for symbol in named:
        if symbol not in atomic_numbers:
            raise UnknownNameError("element in pseudos", symbol, elements)
    rest = sorted(symbol for symbol in elements if role(symbol) not in files)
    if rest and place is None:
        raise ParameterError(
            "pseudopotentials", None, f"the directory of pseudopotential files, which may also be in {VARIABLES[0]}"
        )
    table = _table(place, family, alone=alone) if place is not None and (rest or family) else None
    if table is not None and place is not None:
        entries = read_table(table)
        files |= {role(symbol): _listed(symbol, entries, place, table.name) for symbol in rest}
        files[TABLE] = table
    elif rest and place is not None:
        files |= _only_ones(rest, place, alone=alone)
    return files


def read_all(files: Mapping[str, Path], names: Mapping[str, str] | None = None) -> dict[str, Pseudo]:
    """Read the headers of the pseudopotentials among input files, by element; check that they fit together.

    Parameters
    ----------
    files
        Input files by role.
    names
        Their own names by role, where the files lie under others.

    Raises
    ------
    InputError
        If a file is not of its element, or functionals differ.
    """
    found = {}
    for role_, path in files.items():
        if role_.startswith(_PREFIX):
            symbol = role_.removeprefix(_PREFIX)
            found[symbol] = Pseudo(name=(names or {}).get(role_, path.name), header=_header(path))
            if found[symbol].header.element != symbol:
                other = found[symbol].header.element
                raise ParameterError("pseudos", {symbol: found[symbol].name}, f"that file is for {other}, not {symbol}")
    return found


def check_functionals(pseudos: Mapping[str, Pseudo]) -> None:
    """Raise unless all pseudopotentials are of one functional.

    Raises
    ------
    ParameterError
        Names the functional of each.
    """
    if len({one.header.functional for one in pseudos.values()}) > 1:
        each = ", ".join(f"{one.name}: {one.header.functional}" for one in pseudos.values())
        raise ParameterError(
            "pseudos",
            {symbol: one.name for symbol, one in pseudos.items()},
            f"files of one functional, or input={{'system': {{'input_dft': …}}}}; they are of different ones ({each})",
        )


def cutoffs(files: Mapping[str, Path], pseudos: Mapping[str, Pseudo]) -> Cutoffs | None:
    """Return the cut-offs that the table among input files recommends; None if it does not for each pseudopotential.

    The highest of each kind counts. What the table says of another file of an element does not, nor do cut-offs in the
    files themselves, which are their authors' guesses.
    """
    if TABLE not in files:
        return None
    entries = read_table(files[TABLE])
    pairs = [
        _pair(entries[symbol])
        for symbol, one in pseudos.items()
        if symbol in entries
        and entries[symbol]["filename"] == one.name
        and _other_digest(files[role(symbol)], entries[symbol]) is None
    ]
    known = [(wfc, rho) for wfc, rho in pairs if wfc is not None]
    if not known or len(known) < len(pseudos):
        return None
    some = any(rho is not None for _, rho in known)
    return Cutoffs(wfc=max(wfc for wfc, _ in known), rho=max(rho or 4 * wfc for wfc, rho in known) if some else None)


def read_table(path: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of a family's table by element.

    Raises
    ------
    ParameterError
        If the file is not such a table.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ParameterError("family", path.name, f"its table cannot be read: {error}") from None
    if not is_table(values):
        raise ParameterError("family", path.name, "a table of element → filename, md5, cutoff_wfc, cutoff_rho")
    return dict(values)


def is_table(values: object) -> bool:
    """Say whether a value read from JSON is the table of a family."""
    return (
        isinstance(values, dict)
        and bool(values)
        and all(
            key in atomic_numbers and isinstance(entry, dict) and isinstance(entry.get("filename"), str)
            for key, entry in values.items()
        )
    )


def _pair(entry: Mapping[str, Any]) -> tuple[float | None, float | None]:
    wfc = entry.get("cutoff_wfc", entry.get("cutoff"))
    rho = entry.get("cutoff_rho")
    if wfc is not None and rho is None and "dual" in entry:
        rho = wfc * entry["dual"]
    return (None if wfc is None else float(wfc)), (None if rho is None else float(rho))


def _named(symbol: str, name: str, place: Path | None) -> Path:
    given = users_path(name, "pseudos")
    if given.name == name and place is not None and (place / name).is_file():
        return place / name
    if given.is_file():
        return given.absolute()
    if given.name == name and place is not None:
        known = [path.name for path in place.iterdir() if path.suffix.lower() == ".upf"]
        raise UnknownNameError(f"pseudopotential for {symbol} in {place}", name, known)
    raise ParameterError("pseudos", {symbol: name}, f"there is no file {given.absolute()}")


def _table(place: Path, family: str | None, *, alone: bool) -> Path | None:
    tables = {path.stem: path for path in sorted(place.glob("*.json")) if _looks_like_table(path)}
    if family is not None:
        if family not in tables:
            raise UnknownNameError(f"family in {place}", family, tables)
        return tables[family]
    if len(tables) > 1 or (tables and not alone):
        raise ParameterError("family", None, f"a choice among those in {place}: {', '.join(map(repr, tables))}")
    return next(iter(tables.values()), None)


def _looks_like_table(path: Path) -> bool:
    try:
        return is_table(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return False


def _listed(symbol: str, entries: Mapping[str, Mapping[str, Any]], place: Path, table: str) -> Path:
    if symbol not in entries:
        raise StructureError(f"family {table} has no pseudopotential for {symbol}; it has {', '.join(sorted(entries))}")
    name = str(entries[symbol]["filename"])
    path = place / name
    if Path(name).name != name or not path.is_file():
        raise ParameterError("pseudopotentials", str(place), f"{name}, which {table} has for {symbol}, is not there")
    if kind := _other_digest(path, entries[symbol]):
        raise ParameterError("pseudopotentials", name, f"it is not the file that {table} means: its {kind} differs")
    return path


def _other_digest(path: Path, entry: Mapping[str, Any]) -> str | None:
    """Return which digest of a file is not that in its table's entry; None if it is the file."""
    for kind in ("sha256", "md5"):
        wanted = entry.get(kind)
        if wanted and _digest(path, kind) != str(wanted).lower():
            return kind
    return None


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        # SSSP's tables have MD5: it tells a wrong file, not a forged one; the job's own record has SHA-256.
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()


def _only_ones(elements: Iterable[str], place: Path, *, alone: bool) -> dict[str, Path]:
    by_element = candidates(place)
    fitting = {symbol: by_element.get(symbol, []) for symbol in elements}
    if missing := [symbol for symbol, paths in fitting.items() if not paths]:
        known = ", ".join(sorted(by_element)) or "none at all"
        raise StructureError(
            f"there is no pseudopotential for {', '.join(missing)} in {place}; there are files for: {known}"
        )
    undecided = {symbol: paths for symbol, paths in fitting.items() if len(paths) > 1 or not alone}
    if undecided:
        example = ", ".join(f"{symbol!r}: {name}" for symbol, name in _of_one_functional(fitting, undecided).items())
        there = "; ".join(
            f"{', '.join(path.name for path in paths)} for {symbol}" for symbol, paths in undecided.items()
        )
        raise ParameterError("pseudos", None, f"a choice such as {{{example}}}, since {place} has {there}")
    return {role(symbol): paths[0] for symbol, paths in fitting.items()}


def _of_one_functional(fitting: Mapping[str, Sequence[Path]], wanted: Collection[str]) -> dict[str, str]:
    """Return a file for each of the wanted elements, of a functional that all have; dots if there is none."""
    by_element = {
        symbol: {_header(path).functional: path for path in reversed(paths)} for symbol, paths in fitting.items()
    }
    common = set.intersection(*(set(files) for files in by_element.values()))
    first = min(common, default=None)
    return {symbol: "…" if first is None else repr(by_element[symbol][first].name) for symbol in wanted}


def candidates(place: Path) -> dict[str, list[Path]]:
    """Return the UPF files of a directory by the element in their headers."""
    found: dict[str, list[Path]] = {}
    for path in sorted(place.iterdir()):
        if path.suffix.lower() == ".upf" and path.is_file():
            try:
                header = _header(path)
            except InputError:
                continue
            found.setdefault(header.element, []).append(path)
    return found


def listed(place: Path, elements: Collection[str]) -> list[PotentialInfo]:
    """Return the families in a directory that have all of these elements, then the files for each of them."""
    tables = [path for path in sorted(place.glob("*.json")) if _looks_like_table(path)]
    families = {path.stem: tuple(sorted(read_table(path))) for path in tables}
    found = [
        PotentialInfo(name=name, kind="family", elements=known)
        for name, known in families.items()
        if set(elements) <= set(known)
    ]
    by_element = candidates(place)
    for symbol in sorted(set(elements) & by_element.keys()):
        for path in by_element[symbol]:
            header = _header(path)
            kind = f"UPF {header.functional}"
            found.append(PotentialInfo(name=path.name, kind=kind, elements=(symbol,), citation=header.origin))
    return found


def origins(files: Mapping[str, Path]) -> dict[str, str]:
    """Return what pseudopotentials say of where they are from, by their role among the input files."""
    return {role: _header(path).origin for role, path in files.items() if role.startswith(_PREFIX)}


def _header(path: Path) -> Header:
    try:
        with path.open("rb") as file:
            return upf.parse(file.read(upf.HEAD).decode("utf-8", errors="replace"))
    except OSError as error:
        raise ParameterError("pseudos", path.name, f"it cannot be read: {error.strerror}") from None
    except InputError as error:
        raise ParameterError("pseudos", path.name, str(error)) from None
