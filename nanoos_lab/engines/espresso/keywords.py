"""The keywords of pw.x's input, and which of them a user may set by hand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ase.io.espresso_namelist.keys import pw_keys

from nanoos_lab.core.errors import InputError, ParameterError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: The value of a keyword.
Value = bool | int | float | str
#: Namelist → keyword → value.
Namelists = dict[str, dict[str, Value]]

#: Keywords of pw.x 6 that ASE's table, made for pw.x 7, has no more.
_OLDER: Mapping[str, frozenset[str]] = {
    "system": frozenset(
        {
            "hubbard_j",
            "hubbard_j0",
            "hubbard_u",
            "hubbard_v",
            "la2f",
            "lda_plus_u",
            "lda_plus_u_kind",
            "u_projection_type",
        }
    ),
    "control": frozenset({"memory"}),
}
#: Those that the engine sets itself: from the structure and the task, or because files would go elsewhere; with what
#: a user has instead.
OWNED: Mapping[str, Mapping[str, str]] = {
    "control": {
        "calculation": "it follows from the task",
        "restart_mode": "it follows from the checkpoint",
        "nstep": "use steps",
        "max_seconds": "use limits={'soft': …}",
        "outdir": "it is in the directory of the attempt",
        "wfcdir": "it is in the directory of the attempt",
        "gdir": "it is in the directory of the attempt",
        "lkpoint_dir": "it is in the directory of the attempt",
        "disk_io": "the engine needs pw.x's files",
        "prefix": "the engine's files have one name",
        "pseudo_dir": "use pseudopotentials",
        "tprnfor": "forces are always there",
        "forc_conv_thr": "use fmax",
        "etot_conv_thr": "use fmax",
        "dt": "use timestep",
    },
    "system": {
        **dict.fromkeys(
            ["ibrav", "celldm", "a", "b", "c", "cosab", "cosac", "cosbc", "nat", "ntyp", "space_group"],
            "it follows from the structure",
        ),
        "ecutwfc": "use ecutwfc",
        "ecutrho": "use ecutrho",
        "nbnd": "use nbnd",
        "tot_charge": "use charge",
        "occupations": "use smearing",
        "smearing": "use smearing",
        "degauss": "use degauss",
        "nspin": "use the structure's initial magnetic moments",
        "starting_magnetization": "use the structure's initial magnetic moments",
        "angle1": "use the structure's initial magnetic moments",
        "angle2": "use the structure's initial magnetic moments",
        "noncolin": "give initial magnetic moments as vectors, or use soc",
        "lspinorb": "use soc",
    },
    "electrons": {
        "conv_thr": "use conv_thr",
        "mixing_beta": "use mixing_beta",
        "diagonalization": "use diagonalization",
        "electron_maxstep": "use scf_iterations",
    },
    "ions": {
        "ion_dynamics": "it follows from the task",
        "ion_velocities": "use the structure's momenta, or temperature",
        "ion_temperature": "use ensemble",
        "tempw": "use temperature",
        "delta_t": "use temperature_end",
        "nraise": "use tdamp",
    },
    "cell": {"press": "use pressure", "press_conv_thr": "use fmax", "cell_factor": "use cell_factor"},
}
#: The namelists, in the order in which pw.x reads them.
NAMELISTS = ("control", "system", "electrons", "ions", "cell", "fcp", "rism")


def check(given: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise unless all keywords exist and are the user's to set.

    Raises
    ------
    UnknownNameError
        For a namelist or keyword that pw.x does not have; carries the nearest one.
    ParameterError
        For a keyword that the engine sets itself, or a text that is none of Fortran's.
    """
    for namelist, keywords in given.items():
        if namelist not in NAMELISTS:
            raise UnknownNameError("namelist of pw.x", namelist, NAMELISTS)
        known = {*pw_keys[namelist], *_OLDER.get(namelist, ())}
        for keyword, value in keywords.items():
            _check_keyword(namelist, keyword, known)
            _check_value(keyword, value)


def _check_keyword(namelist: str, keyword: str, known: set[str]) -> None:
    found = re.fullmatch(r"([A-Za-z]\w*)(?:\(\d+(?:,\d+)*\))?", keyword)
    name = found.group(1).lower() if found else keyword
    if name not in known:
        elsewhere = next((other for other in NAMELISTS if name in pw_keys[other]), None)
        if elsewhere:
            raise InputError(f"keyword {keyword!r} of pw.x is in namelist {elsewhere!r}, not in {namelist!r}")
        raise UnknownNameError(f"keyword of namelist {namelist!r} of pw.x", keyword, known)
    if (instead := OWNED.get(namelist, {}).get(name)) is not None:
        raise ParameterError(f"input[{namelist!r}][{keyword!r}]", "…", f"the engine sets it: {instead}")


def _check_value(keyword: str, value: object) -> None:
    if isinstance(value, str) and (not value.isprintable() or "'" in value or "/" in value):
        raise ParameterError(keyword, value, "a text of printable characters without ' and /")


def merged(base: Namelists, given: Mapping[str, Mapping[str, Value]]) -> Namelists:
    """Return the namelists with what the user adds."""
    result = {namelist: dict(keywords) for namelist, keywords in base.items()}
    for namelist, keywords in given.items():
        result.setdefault(namelist, {}).update({name.lower(): value for name, value in keywords.items()})
    return result


def text(namelists: Mapping[str, Mapping[str, Value]]) -> str:
    """Return the text of the namelists, in the order that pw.x wants."""
    lines = []
    for namelist in NAMELISTS:
        if namelist in namelists:
            lines.append(f"&{namelist}")
            lines += [f"  {name} = {_fortran(value)}" for name, value in namelists[namelist].items()]
            lines.append("/")
    return "\n".join(lines) + "\n"


def _fortran(value: Value) -> str:
    if isinstance(value, bool):
        return ".true." if value else ".false."
    if isinstance(value, str):
        return f"'{value}'"
    return repr(value).replace("e", "d") if isinstance(value, float) else str(value)
