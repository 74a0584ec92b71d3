"""What a pseudopotential file says of itself: a pure reader of the header of UPF files, versions 1 and 2.

Format: https://pseudopotentials.quantum-espresso.org/home/unified-pseudopotential-format
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ase.data import atomic_numbers

from nanoos_lab.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Bytes at the beginning of a file in which its header lies, comments of its generator included.
HEAD = 1 << 20

#: pw.x's names of exchange, correlation and their gradient corrections → the usual name of the functional. Files have
#: both; some have names of pw.x's own for the same parts ("PBX" for "PBE").
_FUNCTIONALS = {
    "SLA PZ NOGX NOGC": "PZ",
    "SLA PW NOGX NOGC": "PW",
    "SLA PW PBE PBE": "PBE",
    "SLA PW PBX PBC": "PBE",
    "SLA PW PBX PBE": "PBE",
    "SLA PW PSX PSC": "PBESOL",
    "SLA PW GGX GGC": "PW91",
    "SLA LYP B88 BLYP": "BLYP",
    "SLA PZ B88 P86": "BP",
    "SLA PW REVX PBC": "REVPBE",
}
_SAME = {"LDA": "PZ", "SLA+PZ": "PZ", "SLA-PZ-NOGX-NOGC": "PZ", "SLA+PW+PBX+PBC": "PBE", "SLA-PW-PBX-PBC": "PBE"}

#: Words for the kinds of pseudopotentials that add charge near the nucleus.
_AUGMENTED = ("US", "USPP", "PAW")


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a pseudopotential is for."""

    #: Chemical symbol.
    element: str
    #: The functional that it was made with, by its usual name where there is one.
    functional: str
    #: Number of valence electrons.
    valence: float
    #: Cut-off of the wave functions that its author recommends, in Ry; None if the file does not say.
    cutoff_wfc: float | None = None
    #: The same for the charge density.
    cutoff_rho: float | None = None
    #: Whether charge is added near the nucleus, ultrasoft or PAW, so that the density needs a cut-off of its own.
    augmented: bool = False
    #: Whether that is by projector-augmented waves.
    paw: bool = False
    #: Whether it has what couples spin and orbit: it was made with a fully relativistic calculation.
    relativistic: bool = False
    #: What it asks to be cited, or else who has made it, with what and when, as far as it says.
    origin: str = ""


def parse(text: str) -> Header:
    """Read the header.

    Parameters
    ----------
    text
        The beginning of the file, `HEAD` bytes or all of it.

    Raises
    ------
    InputError
        If it is not a UPF file, or its header lacks element, functional or number of electrons.
    """
    found = re.search(r"<PP_HEADER\b([^>]*)>", text)
    if found is None:
        raise InputError("it is not a UPF file: it has no PP_HEADER")
    before = text[: found.start()]
    try:
        if "=" in found.group(1):
            return replace(_second(found.group(1)), origin=_origin(before))
        return replace(_first(text[found.end() :]), relativistic=_says_it_is(before), origin=_origin(before))
    except (LookupError, ValueError, StopIteration):
        raise InputError("its PP_HEADER cannot be read") from None


def functional(words: str) -> str:
    """Return the usual name of a functional, from the words that files have for it."""
    joined = " ".join(words.upper().replace("-", " ").split()[:4])
    plain = words.strip().upper()
    return _FUNCTIONALS.get(joined) or _SAME.get(plain, plain)


def _second(attributes: str) -> Header:
    values = {name.lower(): value.strip() for name, value in re.findall(r"(\w+)\s*=\s*\"([^\"]*)\"", attributes)}
    return Header(
        element=_element(values["element"]),
        functional=functional(values["functional"]),
        valence=_number(values["z_valence"]),
        cutoff_wfc=_cutoff(values.get("wfc_cutoff", "")),
        cutoff_rho=_cutoff(values.get("rho_cutoff", "")),
        augmented=values.get("pseudo_type", "").upper() in _AUGMENTED
        or _is_true(values, "is_ultrasoft")
        or _is_true(values, "is_paw"),
        paw=values.get("pseudo_type", "").upper() == "PAW" or _is_true(values, "is_paw"),
        relativistic=_is_true(values, "has_so"),
    )


def _is_true(values: Mapping[str, str], name: str) -> bool:
    return values.get(name, "").strip(".").lower() in ("t", "true")


def _says_it_is(before: str) -> bool:
    """Look for the words of the generator before the header: that of version 1 does not say it."""
    return re.search(r"fully?-relativistic", before, re.IGNORECASE) is not None


def _origin(before: str) -> str:
    """Return where a file is from, by the words before its header."""
    cited = re.search(r"\bcite\s+(.+?)\s+in any publication", before, re.DOTALL)
    if cited:
        return " ".join(cited.group(1).split())
    made, author, date = (_after(before, mark) for mark in ("Generated", "Author:", "Generation date:"))
    # What has only been converted, nobody knows by what.
    how = f"Generated {made}" if made and "converted to UPF format" not in made else ""
    by = f"author {author}" if author else ""
    return ", ".join(part for part in (how, by, date) if part) if how or by else ""


def _after(text: str, mark: str) -> str:
    """Return what follows a mark in its line, up to another mark; "" where that stands for nothing."""
    found = re.search(rf"^.*?\b{mark}[ \t]*(.*?)[ \t]*(?:Generation date:.*)?$", text, re.MULTILINE)
    value = " ".join(found.group(1).split()) if found else ""
    return "" if value.lower() in ("anonymous", "unknown", "as well") else value


def _first(body: str) -> Header:
    """Read version 1: a value or more at the beginning of each line, and what it is after it."""
    lines = body[: body.index("</PP_HEADER>")].splitlines()
    cutoffs = _line(lines, "Suggested cutoff")
    return Header(
        element=_element(_required(lines, "Element").split()[0]),
        functional=functional(_required(lines, "Exchange-Correlation").partition("Exchange-Correlation")[0]),
        valence=_number(_required(lines, "Z valence").split()[0]),
        cutoff_wfc=_cutoff(cutoffs.split()[0]) if cutoffs else None,
        cutoff_rho=_cutoff(cutoffs.split()[1]) if cutoffs else None,
        augmented=any(line.split()[0] in _AUGMENTED for line in lines if line.strip()),
        paw=any(line.split()[0] == "PAW" for line in lines if line.strip()),
    )


def _line(lines: list[str], mark: str) -> str:
    return next((line for line in lines if mark in line), "")


def _required(lines: list[str], mark: str) -> str:
    return next(line for line in lines if mark in line)


def _element(word: str) -> str:
    symbol = word.strip().capitalize()
    if symbol not in atomic_numbers:
        raise ValueError(word)
    return symbol


def _number(word: str) -> float:
    return float(word.lower().replace("d", "e"))


def _cutoff(word: str) -> float | None:
    try:
        value = _number(word)
    except ValueError:
        return None
    return value if value > 0 else None
