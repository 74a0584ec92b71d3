"""OUTCAR, read line by line as it grows, in constant memory; what is there so far is right wherever it is cut off.

Sign and order of the stress are ASE's: positive under tension; xx, yy, zz, yz, xz, xy.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units

from nanoos_lab.engines.numbers import numbers
from nanoos_lab.engines.vasp import console
from nanoos_lab.engines.vasp.console import Scf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Array = np.ndarray[Any, Any]

#: kB in eV/Å³.
KBAR = 0.1 * units.GPa
#: VASP's order xx, yy, zz, xy, yz, zx in ASE's.
_VOIGT = [0, 1, 2, 4, 5, 3]

#: Without these there is no ionic step.
_WHOLE = {"energy", "free_energy", "positions", "cell"}
#: What a line begins with that says something; the name of the group says what is done about it.
_LINES = {
    "iteration": r"-+ Iteration",
    "abort": r"-+ aborting loop",
    "change": r"total energy-change",
    "heading": r"FREE ENERGIE OF THE ION-ELECTRON SYSTEM",
    "toten": r"free\s+energy\s+TOTEN",
    "entropy": r"energy\s+without entropy",
    "fermi": r"E-fermi\s*:|Fermi energy:",
    "electrons": r"number of electron\s.*magnetization",
    "kbar": r"in kB\s",
    "kinetic_stress": r"Total\+kin\.",
    "basis": r"direct lattice vectors",
    "forces": r"POSITION\s+TOTAL-FORCE",
    "table": r"magnetization \([xyz]\)",
    "ekin": r"kinetic energy EKIN\s*=",
    "temperature": r"kin\. lattice\s+EKIN_LAT=",
    "loop": r"LOOP\+:",
    "accurate": r"reached required accuracy",
    "timing": r"General timing and accounting",
    "ions": r"number of dos\s+NEDOS",
    "bands": r"k-points\s+NKPTS",
    "vectors": r"LNONCOLLINEAR\s+=",
    "setting": r"(?:NELM|EDIFF|NSW|IBRION|ISPIN)\s+=",
    "version": r"vasp\.\d",
    "predicted": r"ML FORCE on cell",
    "ml_toten": r"free\s+energy\s+ML TOTEN",
    "ml_entropy": r"ML energy\s+without entropy",
}
# Most lines are numbers: neither they nor the spaces before them are tried twice.
_ANY = re.compile(r"\s*+(?![\d.])(?:" + "|".join(f"(?P<{name}>{pattern})" for name, pattern in _LINES.items()) + ")")
_ITERATION = re.compile(r"Iteration\s*(\d+)\(\s*(\d+)\)")
_SETTING = re.compile(r"(NELM|EDIFF|NSW|IBRION|ISPIN)\s+=\s*([^\s;]+)")


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One ionic step. Atoms are in VASP's order."""

    #: Number, from 1.
    number: int
    #: Energy extrapolated to no smearing, free energy, and energy without entropy, in eV.
    energy: float
    free_energy: float
    energy_without_entropy: float
    #: In Å, shape (atoms, 3), to the five digits that VASP prints; and in eV/Å.
    positions: Array
    forces: Array
    #: Cell vectors as rows in Å, shape (3, 3).
    cell: Array
    #: In eV/Å³, Voigt order, shape (6,); None if VASP did not compute it.
    stress: Array | None
    #: The same with what the motion of the atoms adds.
    kinetic_stress: Array | None
    #: Fermi level in eV.
    fermi_level: float | None
    #: Magnetic moment of the cell in µB: one component, or three; empty without spin.
    magnetization: tuple[float, ...]
    #: Kinetic energy of the atoms in eV, and temperature in K; in molecular dynamics.
    kinetic_energy: float | None
    temperature: float | None
    #: SCF iterations; whether they converged.
    scf_iterations: int
    scf_converged: bool
    #: Change of the free energy in the last of them, in eV; not a number if it was not printed.
    scf_change: float
    #: Seconds that it took.
    seconds: float | None


@dataclass(kw_only=True)
class Facts:
    """What was read so far besides the steps."""

    #: VASP's version.
    version: str = ""
    #: Number of atoms.
    atoms: int | None = None
    #: Number of bands.
    bands: int | None = None
    #: Values of NELM, EDIFF, NSW, IBRION and ISPIN, as far as they were printed.
    settings: dict[str, float] = field(default_factory=dict)
    #: Number of ionic steps so far.
    steps: int = 0
    #: In how many of them the SCF cycle has not converged.
    unconverged: int = 0
    #: Whether the relaxation has ended because its criterion was met.
    accurate: bool = False
    #: Seconds that the slowest of them took; 0 if that was not printed.
    slowest: float = 0.0
    #: Whether VASP was stopped within an ionic step; that one does not count, whatever is printed of it.
    broken_off: bool = False
    #: Whether VASP has come to its last words.
    finished: bool = False
    #: Whether the SCF cycle of the last ionic step has converged.
    scf_converged: bool = True
    #: Magnetic moments of the atoms in µB, shape (atoms,) or (atoms, 3); None if they were not printed.
    magmoms: Array | None = None


class Reader:
    """Reads lines one after the other; what they add up to is in `facts`."""

    def __init__(self) -> None:
        self.facts = Facts()
        self._take: Callable[[str], None] | None = None
        self._handlers: dict[str, Callable[[str], Scf | Step | None]] = {
            name: getattr(self, f"_read_{name}") for name in _LINES
        }
        self._ionic = self._scf = 0
        self._change: list[float] = []
        self._heading = False
        self._last_scf: Scf | None = None
        self._explicit: bool | None = None
        self._parts: dict[str, Any] = {}
        # What a force field that VASP learns on the way predicts: for the present step, and for the one after it, since
        # VASP prints that before the present one ends.
        self._predicted: dict[str, Any] = {}
        self._coming: dict[str, Any] = {}
        self._target = self._parts
        self._iterated = False
        self._fermi: float | None = None
        self._magnetization: tuple[float, ...] = ()
        self._rows: list[list[float]] = []
        self._dashes = 0
        self._tables: dict[str, Array] = {}
        self._vectors = False

    def feed(self, line: str) -> Scf | Step | None:
        """Read a whole line; return the SCF iteration or ionic step that it completes."""
        if self._take is not None:
            self._take(line)
            return None
        found = _ANY.match(line)
        if found is None or found.lastgroup is None:
            return None
        return self._handlers[found.lastgroup](line)

    def close(self) -> Step | None:
        """Return the last ionic step, if it is whole but its end was not reached."""
        return self._step(None)

    # -- the course of the run -------------------------------------------------------------------------------------

    def _read_iteration(self, line: str) -> Step | None:
        found = _ITERATION.search(line)
        if found is None:
            return None
        number, self._scf, self._iterated = int(found[1]), int(found[2]), True
        if number == self._ionic:
            return None
        step = self._step(None)
        self._ionic = number
        self._begin_step()
        return step

    def _begin_step(self) -> None:
        self._parts, self._tables, self._last_scf, self._explicit = {}, {}, None, None
        self._target = self._parts

    def _read_change(self, line: str) -> None:
        self._change = numbers(line.partition(":")[2])

    def _read_heading(self, line: str) -> None:
        self._heading = True

    def _read_toten(self, line: str) -> Scf | None:
        energy = _after(line, "TOTEN")
        if energy is None:
            return None
        if self._heading:
            self._parts["free_energy"] = energy
            return None
        change, band_change = (*self._change, np.nan, np.nan)[:2]
        self._last_scf = Scf(algorithm="", number=self._scf, energy=energy, change=change, band_change=band_change)
        return self._last_scf

    def _read_entropy(self, line: str) -> None:
        without, energy = _after(line, "entropy"), _after(line, "energy(sigma->0)")
        if without is not None and energy is not None and self._heading:
            self._parts["energy_without_entropy"], self._parts["energy"] = without, energy
            self._heading = False

    def _read_abort(self, line: str) -> None:
        self._explicit = "EDIFF is reached" in line
        self.facts.broken_off = "hard stop" in line

    def _read_loop(self, line: str) -> Step | None:
        if self._iterated or not self._predicted.keys() >= _WHOLE:
            step = self._step(_after(line, "real time"))
        else:
            # No electrons were needed.
            self._ionic, self._scf = self._ionic + 1, 0
            self._last_scf, self._explicit, self._magnetization = None, None, ()
            self._parts = {**self._predicted, **self._parts}
            step = self._step(_after(line, "real time"))
        self._iterated = False
        self._predicted, self._coming = self._coming, {}
        self._target = self._parts
        return step

    # -- force fields that are learnt on the way -------------------------------------------------------------------

    def _read_predicted(self, line: str) -> None:
        if self._coming:
            # The first step's came before it.
            self._predicted, self._coming = self._predicted or self._coming, {}
        self._target = self._coming

    def _read_ml_toten(self, line: str) -> None:
        if (energy := _after(line, "TOTEN")) is not None:
            self._coming["free_energy"] = energy

    def _read_ml_entropy(self, line: str) -> None:
        without, energy = _after(line, "entropy"), _after(line, "energy(sigma->0)")
        if without is not None and energy is not None:
            self._coming["energy_without_entropy"], self._coming["energy"] = without, energy
        self._target = self._parts

    def _read_accurate(self, line: str) -> None:
        self.facts.accurate = True

    def _read_timing(self, line: str) -> Step | None:
        self.facts.finished = True
        return self._step(None)

    # -- quantities ------------------------------------------------------------------------------------------------

    def _read_fermi(self, line: str) -> None:
        found = numbers(line.partition(":")[2])
        self._fermi = found[0] if found else self._fermi

    def _read_electrons(self, line: str) -> None:
        self._magnetization = tuple(numbers(line.partition("magnetization")[2]))

    def _read_kbar(self, line: str) -> None:
        self._keep_stress("stress", line.partition("kB")[2])

    def _read_kinetic_stress(self, line: str) -> None:
        self._keep_stress("kinetic_stress", line.partition("kin.")[2])

    def _keep_stress(self, name: str, text: str) -> None:
        values = numbers(text)
        if len(values) == 6:
            self._target[name] = -np.array(values)[_VOIGT] * KBAR

    def _read_ekin(self, line: str) -> None:
        self._keep_number("kinetic_energy", _after(line, "EKIN"))

    def _read_temperature(self, line: str) -> None:
        self._keep_number("temperature", _after(line, "temperature"))

    def _keep_number(self, name: str, value: float | None) -> None:
        if value is not None:
            self._parts[name] = value

    # -- tables ----------------------------------------------------------------------------------------------------

    def _read_basis(self, line: str) -> None:
        self._begin(self._basis_row)

    def _basis_row(self, line: str) -> None:
        row = numbers(line)
        if len(row) < 6:
            self._take = None
            return
        self._rows.append(row[:3])
        if len(self._rows) == 3:
            self._target["cell"] = np.array(self._rows)
            self._take = None

    def _read_forces(self, line: str) -> None:
        self._begin(self._forces_row)

    def _forces_row(self, line: str) -> None:
        if line.lstrip().startswith("---"):
            self._dashes += 1
            if self._dashes == 2:
                table = np.array(self._rows)
                if len(table) and len(table) == (self.facts.atoms or len(table)):
                    self._target["positions"], self._target["forces"] = table[:, :3], table[:, 3:6]
                self._take = None
            return
        row = numbers(line)
        if len(row) < 6:
            self._take = None
            return
        self._rows.append(row[:6])

    def _read_table(self, line: str) -> None:
        axis = line.partition("(")[2][:1]
        self._begin(lambda row: self._moments_row(axis, row))

    def _moments_row(self, axis: str, line: str) -> None:
        if line.lstrip().startswith("---"):
            self._dashes += 1
        elif self._dashes:
            row = numbers(line)
            if len(row) > 2:
                self._rows.append([row[-1]])
        if self._dashes and len(self._rows) == (self.facts.atoms or 0):
            self._tables[axis] = np.array(self._rows).ravel()
            self._keep_moments()
            self._take = None
        elif self._dashes > 1:
            self._take = None

    def _keep_moments(self) -> None:
        if len(self._tables) == 3:
            self.facts.magmoms = np.stack([self._tables[axis] for axis in "xyz"], axis=1)
        elif not self._vectors and "x" in self._tables:
            self.facts.magmoms = self._tables["x"]

    def _begin(self, take: Callable[[str], None]) -> None:
        self._rows, self._dashes, self._take = [], 0, take

    # -- what does not change --------------------------------------------------------------------------------------

    def _read_ions(self, line: str) -> None:
        # VASP prints this again, with other numbers, where there are many species.
        self.facts.atoms = self.facts.atoms or _count(line, "NIONS")

    def _read_bands(self, line: str) -> None:
        self.facts.bands = self.facts.bands or _count(line, "NBANDS=")

    def _read_setting(self, line: str) -> None:
        for name, word in _SETTING.findall(line):
            # What VASP says of itself comes after the user's words, which it repeats, and counts.
            found = numbers(word)
            if found and math.isfinite(found[0]):
                self.facts.settings[name] = found[0]

    def _read_vectors(self, line: str) -> None:
        # Then a table for x alone is no more than one of three.
        self._vectors = line.partition("=")[2].strip(" .")[:1].upper() == "T"

    def _read_version(self, line: str) -> None:
        self.facts.version = self.facts.version or (console.version(line) or "")

    # -- a whole step ----------------------------------------------------------------------------------------------

    def _step(self, seconds: float | None) -> Step | None:
        """Return the present ionic step if it is whole, once."""
        if self.facts.broken_off:
            return None
        parts = self._parts
        if not parts.keys() >= _WHOLE:
            # What is there may still be added to.
            return None
        self._parts = self._target = {}
        settings = self.facts.settings
        nelm = int(settings["NELM"]) if "NELM" in settings else None
        facts_say = console.converged(self._last_scf, nelm, settings.get("EDIFF"))
        self.facts.scf_converged = facts_say and self._explicit is not False
        self.facts.steps += 1
        self.facts.unconverged += not self.facts.scf_converged
        self.facts.slowest = max(self.facts.slowest, seconds or 0.0)
        return Step(
            number=self._ionic,
            energy=parts["energy"],
            free_energy=parts["free_energy"],
            energy_without_entropy=parts["energy_without_entropy"],
            positions=parts["positions"],
            forces=parts["forces"],
            cell=parts["cell"],
            stress=parts.get("stress"),
            kinetic_stress=parts.get("kinetic_stress"),
            fermi_level=self._fermi,
            magnetization=self._magnetization,
            kinetic_energy=parts.get("kinetic_energy"),
            temperature=parts.get("temperature"),
            scf_iterations=self._scf,
            scf_converged=self.facts.scf_converged,
            scf_change=self._last_scf.change if self._last_scf else np.nan,
            seconds=seconds,
        )


def _after(line: str, words: str) -> float | None:
    """Return the first number after some words; None if there is none."""
    found = numbers(line.partition(words)[2])
    return found[0] if found else None


def _count(line: str, words: str) -> int | None:
    """Return the same as a whole number."""
    found = _after(line, words)
    return int(found) if found is not None and math.isfinite(found) else None


def read(lines: Iterable[str], reader: Reader | None = None) -> Iterator[Scf | Step]:
    """Yield SCF iterations and ionic steps from the lines of an OUTCAR, which may end anywhere.

    A last line without its end is not read: half a number looks like a number.
    """
    reader = reader or Reader()
    for line in lines:
        if not line.endswith("\n"):
            break
        found = reader.feed(line)
        if found is not None:
            yield found
    last = reader.close()
    if last is not None:
        yield last
