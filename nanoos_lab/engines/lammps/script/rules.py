"""What a script may do on a machine that its author shares with others. Pure.

Everything is refused that is not known to be harmless: commands by an allow-list, files by their place. The
same rules look at a script when it is submitted, and at every command again right before it is executed, when
its variables have their values.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import InputError, nearest
from nanoos_lab.engines.lammps.script.text import (
    Line,
    Word,
    check_characters,
    lines_of,
    without_comment,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ALLOWED = """
    angle_coeff angle_style angle_write atom_modify atom_style balance bond_coeff bond_style bond_write
    boundary box change_box clear comm_modify comm_style compute compute_modify create_atoms create_bonds
    create_box delete_atoms delete_bonds dielectric dihedral_coeff dihedral_style dihedral_write dimension
    displace_atoms dump dump_modify echo fix fix_modify group if improper_coeff improper_style include info
    jump kspace_modify kspace_style label labelmap lattice log mass min_modify min_style minimize molecule
    neigh_modify neighbor newton next pair_coeff pair_modify pair_style pair_write print processors quit
    read_data read_dump read_restart region replicate rerun reset_atom_ids reset_atoms reset_ids reset_mol_ids
    reset_timestep restart run run_style set special_bonds suffix thermo thermo_modify thermo_style timer
    timestep uncompute undump unfix units variable velocity write_coeff write_data write_dump write_restart
"""
#: Commands that a script may use.
ALLOWED = frozenset(_ALLOWED.split())

#: Why the better known of the others are refused.
_REASONS = {
    "shell": "it runs programs",
    "python": "it runs Python code",
    "plugin": "it loads program code",
    "geturl": "it reaches the network",
    "message": "it reaches the network",
    "server": "it reaches the network",
    "partition": "one run has one partition",
    "package": "threads are set with resources={'threads': …}",
}

_READS_CODE = "it loads program code from a file"
#: First part of a style → why it is refused, by command and where in it the style may stand.
_STYLES: dict[str, tuple[slice, dict[str, str]]] = {
    "fix": (
        slice(3, 4),
        {
            "python": "it runs Python code",
            "external": "it needs a program around LAMMPS",
            "imd": "it reaches the network",
            "ipi": "it reaches the network",
            "mdi": "it reaches the network",
            "client": "it reaches the network",
            "plumed": "its own input names files",
            "colvars": "its own input names files",
        },
    ),
    "dump": (slice(3, 4), {"movie": "it runs a program", "molfile": _READS_CODE}),
    "write_dump": (slice(2, 3), {"movie": "it runs a program", "molfile": _READS_CODE}),
    "read_dump": (slice(2, None), {"molfile": _READS_CODE}),
    "rerun": (slice(1, None), {"molfile": _READS_CODE}),
    "compute": (slice(4, None), {"mliappy": _READS_CODE}),
    "pair_style": (
        slice(1, None),
        {"python": "it runs Python code", "kim": _READS_CODE, "mliappy": _READS_CODE, "unified": _READS_CODE},
    ),
}

#: Commands after which it is not the one below that comes next, or the arguments of commands are read from a file.
_GOES = frozenset({"include", "jump", "quit", "read_data"})
_ANY_STYLE: tuple[slice, dict[str, str]] = (slice(0), {})

#: Variables whose arguments are formulas or texts, not names of files.
_FORMULAS = frozenset({"atom", "equal", "format", "index", "string", "vector"})
_VARIABLES = _FORMULAS | {"atomfile", "delete", "file", "internal", "loop", "timer"}

_PACKED = re.compile(r"\.(gz|bz2|xz|zst|lz4|lzma)", re.IGNORECASE)
_PLAIN = re.compile(r"[\w./+%*-]*", re.ASCII)
_ASKS_FOR_FILE = re.compile(r"is_file\s*\(([^)]*)\)")


def check_script(script: str) -> list[Line]:
    """Check a script as it is written; return its logical lines.

    Raises
    ------
    InputError
        Names the line, the command and why it is refused.
    """
    lines = lines_of(script)
    for line in lines:
        try:
            check_command(words_of(line.text))
        except InputError as error:
            raise InputError(f"line {line.number}: {error}") from None
    return lines


def check_command(words: Sequence[Word]) -> None:
    """Check one command, as it is written or with its variables filled in.

    Raises
    ------
    InputError
        Names the command and why it is refused.
    """
    name = words[0].text
    if "$" in name:
        raise InputError(f"a variable cannot stand for a command: {name!r}")
    if name not in ALLOWED:
        raise InputError(_refusal(name))
    _check_style(words)
    for word in words:
        _check_formula(word.text)
    rule = _RULES.get(name)
    if rule is not None:
        rule(words)
    else:
        check_files(words[1:])


def _refusal(name: str) -> str:
    if name in _REASONS:
        return f"command {name!r} is refused: {_REASONS[name]}"
    close = nearest(name, ALLOWED)
    hint = f"; did you mean {close!r}?" if close else ""
    return f"command {name!r} is unknown, or not allowed in scripts here{hint}"


def _check_style(words: Sequence[Word]) -> None:
    places, refused = _STYLES.get(words[0].text, _ANY_STYLE)
    styles: Sequence[Word] = words[places]
    for word in styles:
        reason = refused.get(word.text.split("/")[0])
        if reason:
            raise InputError(f"{words[0].text} style {word.text!r} is refused: {reason}")


def check_files(words: Sequence[Word]) -> None:
    """Raise for a word that could name a file outside of the working directory, or hide a shell command.

    LAMMPS reads and writes packed files through a shell command with their name in it. A variable outside of quotes
    is looked at again when it has its value; inside quotes it would reach the shell as it is.
    """
    for word in words:
        text = word.text
        if text.startswith(("/", "~")) or ".." in text.replace("\\", "/").split("/"):
            raise InputError(f"{text!r} is outside of the working directory; bring files with files=[…]")
        if _PACKED.search(text) and not _PLAIN.fullmatch(text) and (word.quoted or "$" not in text):
            raise InputError(f"{text!r} has characters that the name of a packed file must not have")


def _check_variable(words: Sequence[Word]) -> None:
    style = words[2].text if len(words) > 2 else ""
    if style not in _VARIABLES:
        raise InputError(f"variable style {style!r} is refused; allowed: {', '.join(sorted(_VARIABLES))}")
    if style not in _FORMULAS:
        check_files(words[3:])


def _check_formula(text: str) -> None:
    for name in _ASKS_FOR_FILE.findall(text):
        check_files([Word(name.strip(), quoted=False)])


def _check_if(words: Sequence[Word]) -> None:
    for _, commands in branches_of(words):
        for command in commands:
            check_nested(command)


def _check_run(words: Sequence[Word]) -> None:
    texts = [word.text for word in words]
    if "every" not in texts:
        return
    for command in texts[texts.index("every") + 2 :]:
        if command == "NULL":
            continue
        check_nested(command)
        inner = words_of(without_comment(command))
        _check_stays(inner)
        # LAMMPS fills in these variables without asking again, and only a text in quotes stays one argument.
        if inner and "$" in command and not (inner[0].text == "print" and len(inner) == 2 and inner[1].quoted):
            raise InputError(f"a variable in a command of 'run … every' is refused: {command!r}")


def _check_stays(words: Sequence[Word]) -> None:
    """Raise for a command that leads elsewhere: inside of a run LAMMPS follows it alone, to what nobody has seen."""
    if words and words[0].text in _GOES:
        raise InputError(f"{words[0].text!r} in a command of 'run … every' is refused: write a loop around a plain run")
    if words and words[0].text == "if":
        for _, commands in branches_of(words):
            for command in commands:
                _check_stays(words_of(without_comment(command)))


def _check_jump(words: Sequence[Word]) -> None:
    if len(words) != 3 or words[1].text != "SELF":
        raise InputError("jump goes only to a label of the same script: jump SELF label")


def _check_print(words: Sequence[Word]) -> None:
    check_files(words[2:])


def _check_fix(words: Sequence[Word]) -> None:
    texts = [word.text for word in words]
    # fix ID group print N "text" file name
    skipped = 6 if texts[3:4] == ["print"] else 1
    check_files(words[skipped:])


def check_nested(command: str) -> None:
    """Check a command that is an argument of another one."""
    check_characters(command)
    if "\n" in command:
        raise InputError(f"a command inside another one must be one line: {command!r}")
    words = words_of(without_comment(command))
    if words:
        check_command(words)


def branches_of(words: Sequence[Word]) -> list[tuple[str, list[str]]]:
    """Return the branches of an ``if``: condition ("1" for else) and commands.

    Raises
    ------
    InputError
        If its parts are not in order.
    """
    texts = [word.text for word in words]
    if len(texts) < 4 or texts[2] != "then":
        raise InputError("if needs a condition, 'then' and a command")
    branches: list[tuple[str, list[str]]] = [(texts[1], [])]
    rest = iter(texts[3:])
    for text in rest:
        if text == "elif":
            branches.append((next(rest, ""), []))
        elif text == "else":
            branches.append(("1", []))
        else:
            branches[-1][1].append(text)
    if not all(commands and condition for condition, commands in branches):
        raise InputError("every part of an if needs a condition and a command")
    return branches


_RULES: dict[str, Callable[[Sequence[Word]], None]] = {
    "variable": _check_variable,
    "if": _check_if,
    "run": _check_run,
    "jump": _check_jump,
    "print": _check_print,
    "fix": _check_fix,
}
