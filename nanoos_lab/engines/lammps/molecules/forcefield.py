"""The commands of a force field: what the user wrote, read and checked. Pure but for the table of styles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nanoos_lab.core.errors import InputError, ParameterError, UnknownNameError
from nanoos_lab.engines.lammps import checks, styles
from nanoos_lab.engines.lammps.molecules.datafile import COLUMNS, CONNECTIONS
from nanoos_lab.engines.lammps.script import rules
from nanoos_lab.engines.lammps.script.text import is_number, lines_of, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nanoos_lab.engines.lammps.molecules.datafile import DataFile

_PARTS = ("pair", *CONNECTIONS)
#: Commands of a force field.
ALLOWED = frozenset(
    (
        *(f"{part}_style" for part in (*_PARTS, "atom", "kspace")),
        *(f"{part}_coeff" for part in _PARTS),
        *("comm_modify", "dielectric", "fix", "group", "include", "kspace_modify", "mass", "neigh_modify"),
        *("neighbor", "pair_modify", "set", "special_bonds", "units"),
    )
)
#: Why the better known of the others are not.
_ELSEWHERE = {
    "boundary": "the structure's pbc says it",
    "read_data": "data= names the file",
    "run": "steps= says how long",
    "timestep": "timestep= says it, in fs",
    "velocity": "temperature= says it",
    "compute": "commands= of task 'md' takes it",
    "variable": "commands= of task 'md' takes it",
}
#: Fixes that are a part of the force field.
_FIXES = ("qeq", "rattle", "shake")
#: Unit systems with Å and amu.
_UNITS: dict[str, Literal["metal", "real"]] = {"metal": "metal", "real": "real"}
_DEEPEST = 20
#: Weights that a word of ``special_bonds`` stands for, and of which forces; other words do not matter here.
_BOTH: Sequence[str] = ("lj", "coul")
_NEVER: Sequence[str] = ("0", "0", "0")
_WEIGHTS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "amber": (_BOTH, ("0", "0", "0.5")),
    "charmm": (_BOTH, _NEVER),
    "dreiding": (_BOTH, ("0", "0", "1")),
    "fene": (_BOTH, ("0", "1", "1")),
}


@dataclass(frozen=True, kw_only=True)
class ForceField:
    """The commands of a force field."""

    #: LAMMPS's unit system.
    unit_system: Literal["metal", "real"]
    #: LAMMPS's atom style.
    atom_style: str
    #: First argument of commands that choose a style, by what it is for, such as "pair" and "kspace".
    chosen: Mapping[str, str]
    #: Commands to execute once the atoms are there, those of the data file's coefficients among them.
    commands: tuple[str, ...]
    #: Mass of each atom type, from 1, in amu.
    masses: tuple[float, ...]
    #: The most bonds between two atoms whose forces on each other are taken off, all or some of them; 0 to 3.
    weighed: int


def read(text: str, files: Mapping[str, str], data: DataFile) -> ForceField:
    """Read the commands of a force field.

    Parameters
    ----------
    text
        What the user wrote.
    files
        Texts that it may include, by name.
    data
        The data file that it is for.

    Raises
    ------
    InputError
        Names the line and what is wrong with it.
    ParameterError
        If something is missing.
    """
    commands = list(_flat(text, files, "force_field"))
    chosen = {words[0].removesuffix("_style"): words[1] for words in commands if words[0].endswith("_style")}
    units = next((words[1] for words in commands if words[0] == "units"), None)
    if units not in _UNITS:
        raise ParameterError(
            "force_field",
            f"units {units}" if units else None,
            "'units real' or 'units metal' is needed; there is no eV in others, but task='script' runs them",
        )
    _check_parts(chosen, commands, data)
    _check_hybrids(commands, data)
    _check_names(data, files)
    atom_style = _atom_style(chosen.get("atom"), data)
    return ForceField(
        unit_system=_UNITS[units],
        atom_style=atom_style,
        weighed=_weighed(commands, charged="charge" in COLUMNS[atom_style]),
        chosen=chosen,
        commands=tuple(_ordered(commands, data)),
        masses=_masses(commands, data),
    )


def included(text: str) -> list[str]:
    """Return the names of the files that commands include."""
    commands = ([word.text for word in words_of(line.text)] for line in lines_of(text))
    return [words[1] for words in commands if words[0] == "include" and len(words) > 1]


def _flat(text: str, files: Mapping[str, str], name: str, depth: int = 0) -> Iterator[list[str]]:
    """Yield the words of each command, those of included files in their place."""
    for line in lines_of(text):
        try:
            words = _checked(line.text)
            if words[0] == "include" and words[1] not in files:
                raise UnknownNameError("file", words[1], files)
        except InputError as error:
            raise InputError(f"{name}, line {line.number}: {error}") from None
        if words[0] != "include":
            yield words
        elif depth > _DEEPEST:
            raise InputError(f"{name}, line {line.number}: files include each other without an end")
        else:
            yield from _flat(files[words[1]], files, words[1], depth + 1)


def _checked(line: str) -> list[str]:
    if "$" in line:
        raise InputError(f"'$' is refused in {line!r}: nobody could check what it stands for")
    if "\n" in line:
        raise InputError(f"{line!r} must be one line")
    words = words_of(line)
    texts = [word.text for word in words]
    name = texts[0]
    if name in _ELSEWHERE:
        raise InputError(f"{name} is no command of a force field: {_ELSEWHERE[name]}")
    if name not in ALLOWED:
        raise UnknownNameError("command of a force field", name, ALLOWED)
    rules.check_command(words)
    checks.check_own_name(texts)
    if len(texts) < 2:
        raise InputError(f"{name} needs an argument")
    if name == "fix" and (len(texts) < 4 or not texts[3].startswith(_FIXES)):
        raise InputError(f"{line!r} is no part of a force field, as {', '.join(_FIXES)} are; commands= takes others")
    if name == "set" and texts[3:4] != ["charge"]:
        raise InputError(f"{line!r}: only charges can be set; the data file and the structure have all else")
    styles.check_command(texts)
    return texts


def _check_parts(chosen: Mapping[str, str], commands: Sequence[Sequence[str]], data: DataFile) -> None:
    """Raise if a style is missing, or the coefficients of a type."""
    if "pair" not in chosen:
        raise ParameterError("force_field", None, "a command pair_style is needed")
    if "long" in chosen["pair"].split("/") and "kspace" not in chosen:
        raise ParameterError("force_field", f"pair_style {chosen['pair']}", "a command kspace_style is needed with it")
    for kind in CONNECTIONS:
        count = data.counts.get(f"{kind}s", 0)
        if not count:
            continue
        if kind not in chosen:
            raise ParameterError("force_field", None, f"a command {kind}_style is needed: there are {count} {kind}s")
        types = range(1, data.counts.get(f"{kind} types", 0) + 1)
        lines = (line.split() for line in data.coefficients.get(kind, ()))
        covered = set[int]()
        for words in (*lines, *(words for words in commands if words[0] == f"{kind}_coeff")):
            covered |= set(_range(words[1], len(types)))
        missing = [number for number in types if number not in covered]
        if missing:
            raise ParameterError("force_field", None, f"a command {kind}_coeff for {kind} type {missing[0]} is needed")


def _check_hybrids(commands: Sequence[Sequence[str]], data: DataFile) -> None:
    """Raise for coefficients, here or in the data file, of a style that a hybrid style is not made of."""
    parts = styles.parts_of(commands)
    there = [line.split() for lines in data.coefficients.values() for line in lines]
    for where, lines in (("", commands), (" of the data file's coefficients", there)):
        for words in lines:
            try:
                styles.check_coefficients(words, parts)
            except InputError as error:
                raise InputError(f"force_field, {' '.join(words)!r}{where}: {error}") from None


def _check_names(data: DataFile, files: Mapping[str, str]) -> None:
    """Raise if coefficients of the data file are no arguments of commands, or name files that do not come with them."""
    for line in (line for lines in data.coefficients.values() for line in lines):
        words = _checked(line)
        unknown = next((word for word in words[1:] if "." in word and not is_number(word) and word not in files), None)
        if unknown is not None:
            raise InputError(f"its coefficients name a file {unknown!r}; bring it with files=[…]")


def _weighed(commands: Sequence[Sequence[str]], *, charged: bool) -> int:
    """Return the most bonds between two atoms whose forces on each other are taken off, all or some of them."""
    weights = dict.fromkeys(_BOTH, _NEVER)
    for name, *words in commands:
        if name != "special_bonds":
            continue
        for index, word in enumerate(words):
            forces, given = _WEIGHTS.get(word) or (word.split("/"), words[index + 1 : index + 4])
            if set(forces) <= weights.keys():
                weights |= dict.fromkeys(forces, given)
    counted = (weights["lj"], weights["coul"]) if charged else (weights["lj"],)
    return max((index for each in counted for index, word in enumerate(each, start=1) if not _is_one(word)), default=0)


def _is_one(word: str) -> bool:
    return is_number(word) and float(word) == 1.0


def _range(word: str, last: int) -> range:
    """Return the types that a word such as ``3``, ``*``, ``2*`` or ``1*4`` stands for."""
    low, star, high = word.partition("*")
    try:
        first = int(low or 1)
        return range(first, (int(high or last) if star else first) + 1)
    except ValueError:
        raise InputError(f"{word!r} is not a type or a range of types, such as 2 or 1*3") from None


def _atom_style(given: str | None, data: DataFile) -> str:
    found = given or data.atom_style
    if not found:
        raise ParameterError("force_field", None, "a command atom_style is needed, since the data file does not say it")
    if found not in COLUMNS:
        raise UnknownNameError("atom_style", found, COLUMNS)
    if data.atom_style and data.atom_style != found:
        raise ParameterError("force_field", f"atom_style {found}", f"the data file has 'Atoms # {data.atom_style}'")
    return found


def _masses(commands: Sequence[Sequence[str]], data: DataFile) -> tuple[float, ...]:
    masses = dict(data.masses)
    types = data.counts.get("atom types", 0)
    for words in commands:
        if words[0] != "mass":
            continue
        try:
            masses.update(dict.fromkeys(_range(words[1], types), float(words[2])))
        except (ValueError, IndexError):
            raise InputError(f"{' '.join(words)!r} is not a command: mass TYPE MASS") from None
    missing = [number for number in range(1, types + 1) if masses.get(number, 0.0) <= 0]
    if missing:
        raise ParameterError("data", None, f"a mass of atom type {missing[0]} is needed, there or as a command mass")
    return tuple(masses[number] for number in range(1, types + 1))


def _ordered(commands: Sequence[Sequence[str]], data: DataFile) -> Iterator[str]:
    """Yield the commands in the user's order, with the data file's coefficients behind the styles that they are for."""
    for words in commands:
        if words[0] in ("units", "atom_style", "mass"):
            continue
        yield " ".join(map(_quoted, words))
        if words[0].endswith("_style"):
            yield from data.coefficients.get(words[0].removesuffix("_style"), ())


def _quoted(word: str) -> str:
    """Return a word as LAMMPS reads it as one."""
    return f'"{word}"' if not word or any(letter in " \t#&'" for letter in word) else word
