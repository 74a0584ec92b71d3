"""POTCAR: found under ``VASP_PP_PATH``, checked, and lent to a run.

VASP's potentials are licensed to their user, so they are put together only for an attempt, from its start to its end;
no job keeps them. What remains is which they were: title and SHA-256.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import runpy
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from nanoos_lab.core.errors import EngineError, InputError, ParameterError, StructureError, UnknownNameError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.base import PotentialInfo

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from nanoos_lab.engines.vasp.parameters import VaspParameters

VARIABLE = "VASP_PP_PATH"
#: Name of the file in the working directory.
FILE = "POTCAR"
#: Seconds for which a place for passing a POTCAR may be without its lock: it is being made.
_YOUNG = 60.0
#: Role, among a job's input files, of the file that says which potentials it has.
ROLE = "potentials"
_TITLE = re.compile(r"TITEL\s*=\s*(.+)")
_ENMAX = re.compile(r"ENMAX\s*=\s*([\d.]+)")
_LEXCH = re.compile(r"LEXCH\s*=\s*(\w+)")
#: What LEXCH is in a POTCAR for the local density approximation.
_LDA = "CA"
#: Lines at the beginning of a POTCAR among which its title is.
_HEAD = 60


@dataclass(frozen=True, kw_only=True)
class Potential:
    """One POTCAR."""

    #: Its file.
    path: Path
    #: Its own title, such as "PAW_PBE Si 05Jan2001".
    title: str
    #: Recommended cut-off in eV.
    enmax: float
    #: The functional that it was made with, such as "PE" or "CA".
    lexch: str
    #: Of its bytes.
    sha256: str

    @property
    def provenance(self) -> dict[str, str]:
        """What is kept of it; its folder is that under VASP_PP_PATH."""
        return {"title": self.title, "sha256": self.sha256, "folder": "/".join(self.path.parts[-3:-1])}


def find(given: VaspParameters, species: Sequence[str], noted: Path | None = None) -> list[Potential]:
    """Return the potentials of the species, in their order.

    Parameters
    ----------
    given
        Functional, folder and setups.
    species
        Chemical symbols.
    noted
        What was taken where the job was submitted, see `note`: there may be more to choose from now.

    Raises
    ------
    InputError
        If there is none for one of them, or several, or it is for another element or functional.
    """
    folder = _folder(given)
    there = {symbol: _there(folder, symbol) for symbol in species}
    suffixes = {**_suffixes(given.setups, species), **_noted(noted, folder, there)}
    _check_choice(there, [symbol for symbol in species if symbol not in suffixes], folder, given)
    found = []
    for symbol, names in there.items():
        name = symbol + suffixes[symbol] if symbol in suffixes else names[0]
        if name not in names:
            raise ParameterError(
                "setups", given.setups, f"there is no {name} in {folder}; take {_choices(symbol, names)}"
            )
        found.append(describe(folder / name / FILE, symbol))
        _check_functional(found[-1], given)
    return found


def families(elements: Collection[str]) -> list[PotentialInfo]:
    """Return the folders under VASP_PP_PATH that have POTCARs for all of these elements."""
    root = os.environ.get(VARIABLE, "")
    found = []
    for folder in sorted(Path(root).glob("potpaw*")) if root else ():
        names = [path.parent.name for path in folder.glob(f"*/{FILE}")]
        there = {match[0] for name in names if (match := re.match(r"[A-Z][a-z]?(?![a-z])", name))}
        if there and set(elements) <= there:
            found.append(PotentialInfo(name=folder.name, kind="POTCARs", elements=tuple(sorted(there))))
    return found


def _folder(given: VaspParameters) -> Path:
    root = os.environ.get(VARIABLE)
    if not root:
        raise InputError(
            f"{VARIABLE} is not set: it is the directory that has VASP's potentials, in folders such as potpaw_PBE"
        )
    if not Path(root).is_dir():
        raise InputError(f"{VARIABLE}={root}: there is no such directory")
    usual = ("potpaw", "potpaw_LDA") if given.xc == "LDA" else ("potpaw_PBE",)
    names = (given.potentials,) if given.potentials else usual
    for name in names:
        if (Path(root) / name).is_dir():
            return Path(root) / name
    there = sorted(path.name for path in Path(root).glob("potpaw*") if path.is_dir())
    choice = f"potentials may be {', '.join(repr(name) for name in there)}" if there else "it has no folder potpaw…"
    raise ParameterError("potentials", given.potentials, f"there is no folder {names[0]} in {root}; {choice}")


def _suffixes(setups: str | Mapping[str, str] | None, species: Sequence[str]) -> Mapping[str, str]:
    """Return the suffixes that are chosen, by element; an element for which none is has none here."""
    from ase.data import atomic_numbers

    tables = _tables()
    own = {} if setups is None or isinstance(setups, str) else dict(setups)
    base = setups if isinstance(setups, str) else own.pop("base", None)
    if base is not None and base not in tables:
        raise UnknownNameError("table of setups", base, tables)
    for symbol, suffix in own.items():
        if symbol not in atomic_numbers:
            raise UnknownNameError("element in setups", symbol, atomic_numbers)
        if not re.fullmatch(r"[A-Za-z0-9_.]*", suffix):
            raise ParameterError("setups", {symbol: suffix}, "a suffix such as '_pv', '_sv_GW' or ''")
    table = dict.fromkeys(species, "") | tables[base] if base is not None else {}
    return {symbol: suffix for symbol, suffix in {**table, **own}.items() if symbol in species}


@cache
def _tables() -> dict[str, dict[str, str]]:
    """Return ASE's tables of setups, without the rest of its calculator for VASP, which loads matplotlib."""
    import ase

    path = Path(ase.__file__).parent / "calculators" / "vasp" / "setups.py"
    tables: dict[str, dict[str, str]] = runpy.run_path(str(path))["get_default_setups"]()
    return tables


def _there(folder: Path, symbol: str) -> list[str]:
    """Return the names of the POTCARs of an element."""
    pattern = re.compile(rf"{symbol}(?![a-z]).*")
    found = sorted(each.name for each in folder.iterdir() if pattern.fullmatch(each.name) and (each / FILE).is_file())
    if not found:
        raise StructureError(f"there is no POTCAR for {symbol} in {folder}")
    return found


def _check_choice(
    there: Mapping[str, Sequence[str]], free: Collection[str], folder: Path, given: VaspParameters
) -> None:
    """Raise if there are several for an element for which none was chosen."""
    several = {symbol: names for symbol, names in there.items() if symbol in free and len(names) > 1}
    if not several:
        return
    usual = {symbol: symbol + _tables()["recommended"].get(symbol, "") for symbol in there}
    said = "; ".join(f"{', '.join(names)} for {symbol}" for symbol, names in several.items())
    advice = ""
    if all(name in there[symbol] for symbol, name in usual.items()):
        names = ", ".join(usual[symbol] for symbol in several)
        advice = f"; VASP recommends {names}, which is setups='recommended'"
    choices = ", ".join(f"{symbol!r}: {names[0].removeprefix(symbol)!r}" for symbol, names in several.items())
    raise ParameterError("setups", given.setups, f"a choice such as {{{choices}}}, since {folder} has {said}{advice}")


def _choices(symbol: str, names: Sequence[str]) -> str:
    return " or ".join(f"setups={{{symbol!r}: {name.removeprefix(symbol)!r}}}" for name in names)


def _noted(path: Path | None, folder: Path, there: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the suffixes of the POTCARs that were noted, as far as they are there, under whatever name."""
    told = {} if path is None else json.loads(path.read_bytes())
    digests = {
        symbol: {_sha256(folder / name / FILE): name.removeprefix(symbol) for name in reversed(there[symbol])}
        for symbol in told
        if symbol in there
    }
    return {
        symbol: known[told[symbol]["sha256"]] for symbol, known in digests.items() if told[symbol]["sha256"] in known
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_functional(potential: Potential, given: VaspParameters) -> None:
    """Refuse LDA with potentials of a GGA, whose functional VASP would take without a word, and the reverse."""
    wants_lda = given.xc == "LDA"
    if wants_lda != (potential.lexch == _LDA):
        raise ParameterError(
            "potentials",
            given.potentials,
            f"xc={given.xc!r} needs POTCARs of {'LDA' if wants_lda else 'PBE'}, such as those in "
            f"{'potpaw_LDA' if wants_lda else 'potpaw_PBE'}; {potential.path} has LEXCH = {potential.lexch}",
        )


def describe(path: Path, symbol: str) -> Potential:
    """Read the head of a POTCAR, and check that it is for an element.

    Raises
    ------
    InputError
        If it is no POTCAR, or of another element.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    head = "\n".join(data[: 1 << 14].decode(errors="replace").splitlines()[:_HEAD])
    title, enmax, lexch = _TITLE.search(head), _ENMAX.search(head), _LEXCH.search(head)
    if title is None or enmax is None or lexch is None:
        raise InputError(f"{path} is no POTCAR: it has no TITEL, no ENMAX or no LEXCH")
    name = " ".join(title[1].split())
    # Their VRHFIN is wrong in some of them, such as Zr_sv and Xe.
    element = re.search(r"\s([A-Z][a-z]?)(?![a-z])", name)
    if element is None or element[1] != symbol:
        raise InputError(f"{path} is for another element than {symbol}: its title is {name!r}")
    digest = hashlib.sha256(data).hexdigest()
    return Potential(path=path, title=name, enmax=float(enmax[1]), lexch=lexch[1], sha256=digest)


def note(species: Sequence[str], potentials: Sequence[Potential]) -> Path:
    """Return a file that says which potentials these are: it goes with the job instead of them.

    So a job is equal to another one only if its potentials are, and a worker finds out whether its own are the same.
    """
    told = {
        symbol: {"title": each.title, "sha256": each.sha256} for symbol, each in zip(species, potentials, strict=True)
    }
    data = json.dumps(told, indent=1, sort_keys=True).encode()
    name = f"potentials-{hashlib.sha256(data).hexdigest()[:32]}.json"
    try:
        place = platformdirs.user_cache_path("nanoos_lab") / "vasp"
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        place = Path(tempfile.mkdtemp(prefix="nanoos_lab-"))
    path = place / name
    if not path.is_file() or path.read_bytes() != data:
        half = path.with_suffix(f".{os.getpid()}")
        half.write_bytes(data)
        half.replace(path)
    return path


def compare(species: Sequence[str], potentials: Sequence[Potential], noted: Path) -> None:
    """Check that potentials are those that were noted.

    Raises
    ------
    EngineError
        If one of them is another.
    """
    told = json.loads(noted.read_bytes())
    for symbol, each in zip(species, potentials, strict=True):
        wanted = told.get(symbol)
        if wanted is not None and wanted["sha256"] != each.sha256:
            raise EngineError(
                f"the POTCAR for {symbol} is another one here than where the job was submitted: {each.title!r} in "
                f"{each.path}, not {wanted['title']!r}",
                reason=Reason.RESOURCE,
                remedy=f"Let {VARIABLE} name the same potentials on the worker's host.",
            )


@contextmanager
def lent(workdir: Path, potentials: Sequence[Potential]) -> Iterator[Path]:
    """Have the POTCAR in the working directory inside the block, and only there.

    What is in the working directory stays with the job if this process is killed without a word. So the file itself is
    in a place for passing things, where the next run on this host finds what a killed one has left, and the working
    directory has a link to it; only a run on several hosts has the file where all of them can read it.

    Raises
    ------
    InputError
        If a potential has changed or gone since it was found.
    """
    target = workdir / FILE
    place = workdir if _many_hosts() else _passing_place()
    try:
        with os.fdopen(os.open(place / FILE, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            # The lock says that this process lives, and ends with it.
            fcntl.flock(file, fcntl.LOCK_SH)
            for each in potentials:
                data = each.path.read_bytes()
                if hashlib.sha256(data).hexdigest() != each.sha256:
                    raise InputError(f"{each.path} was changed while the job began")
                file.write(data)
            file.flush()
            if place != workdir:
                target.unlink(missing_ok=True)
                target.symlink_to(place / FILE)
            yield target
    finally:
        target.unlink(missing_ok=True)
        if place != workdir:
            shutil.rmtree(place, ignore_errors=True)


def _many_hosts() -> bool:
    return os.environ.get("SLURM_JOB_NUM_NODES", "1") != "1"


def _passing_place() -> Path:
    """Make a directory for a POTCAR, and remove those that killed processes have left."""
    prefix = f"nanoos_lab-potcar-{os.getuid()}-"
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        # One that is not there, or somebody else's, or still in use, is left alone.
        with suppress(OSError), (left / FILE).open("rb") as file:
            if time.time() - left.stat().st_mtime > _YOUNG:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=prefix))
