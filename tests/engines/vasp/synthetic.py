"""Synthetic output in VASP's layout, from numbers that were made up: no VASP has computed them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DASHES = "-" * 83


@dataclass(kw_only=True)
class Run:
    """What was "computed". Atoms are in VASP's order."""

    species: list[str] = field(default_factory=lambda: ["Si"])
    counts: list[int] = field(default_factory=lambda: [2])
    cell: np.ndarray = field(default_factory=lambda: np.diag([4.0, 4.5, 5.0]))
    steps: int = 3
    #: Steps that are not in it since they were made before, and what each moves all atoms by, in cell vectors.
    begin: int = 0
    drift: float = 0.01
    iterations: int = 4
    nelm: int = 60
    #: Real time of an iteration, in s.
    seconds: float = 0.05
    md: bool = False
    spin: bool = False
    #: Whether moments have three components. The layout is that which the readers of pymatgen and of others take: three
    #: tables where there is one otherwise.
    vectors: bool = False
    accurate: bool = False
    #: Last change of the energy in each SCF cycle.
    change: float = 1e-9
    #: All changes in it, which grow a little; None for ones that become smaller.
    stuck: float | None = None
    #: Step and iteration that never come.
    hangs: tuple[int, int] | None = None
    #: Steps of which VASP says that their SCF cycle has not converged.
    unconverged: tuple[int, ...] = ()
    closing: bool = True
    version: str = "6.2.0 18Jan21 (made up)"
    ranks: int = 1
    #: Lines that are said before the first iteration.
    says: tuple[str, ...] = ()
    #: Highest force of the last step, in eV/Å.
    last_force: float = 0.5
    #: k-points whose levels are in vasprun.xml, and how many of their eight bands are full.
    kpoints: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    full: int = 4

    @property
    def atoms(self) -> int:
        return sum(self.counts)

    def positions(self, step: int) -> np.ndarray:
        base = np.linspace(0.05, 0.8, self.atoms)[:, None] * np.array([1.0, 0.9, 0.8])
        return np.round((base + self.drift * (self.begin + step)) % 1.0 @ self.cell, 5)

    def forces(self, step: int) -> np.ndarray:
        shape = np.zeros((self.atoms, 3))
        shape[:, 0] = self.last_force * (self.steps - step) * np.where(np.arange(self.atoms) % 2, -1, 1)
        shape[:, 2] = 0.001 * np.arange(self.atoms)
        return np.round(shape, 6)

    def free_energy(self, step: int) -> float:
        return round(-10.0 - 0.125 * step, 8)

    def temperature(self, step: int) -> float:
        return round(300.0 + 10 * step, 2)

    def kinetic_energy(self, step: int) -> float:
        return round(0.04 + 0.001 * step, 6)

    def kbar(self, step: int) -> list[float]:
        return [10.0 + step, 20.0, 30.0, 4.0, 5.0, -6.0]

    def change_of(self, iteration: int) -> float:
        if self.stuck is not None:
            return self.stuck * (1 + iteration / 1000)
        return self.change if iteration == self.iterations else 10.0**-iteration

    def moments(self, step: int) -> np.ndarray:
        return np.round(np.outer(np.arange(1, self.atoms + 1), [0.1, -0.2, 0.3]) + 0.01 * step, 3)

    def levels(self) -> np.ndarray:
        """Levels of eight bands in eV at the k-points; there is a gap of 1 eV and more above the full ones."""
        bands = np.arange(8.0) + np.where(np.arange(8) < self.full, 0.0, 0.5)
        return np.round(bands + 0.5 * np.cos(2 * np.pi * self.kpoints.sum(axis=1))[:, None] * 0.5, 4)

    # -- texts -----------------------------------------------------------------------------------------------------

    def head(self) -> Iterator[str]:
        yield f" vasp.{self.version}"
        for symbol in self.species:
            yield f"   VRHFIN ={symbol}: made up"
            yield f"   TITEL  = PAW_PBE {symbol} 01Jan2000"
        yield "   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1  number of bands NBANDS=      8"
        yield f"   number of dos      NEDOS =    301   number of ions     NIONS = {self.atoms:6d}"
        yield "   ions per type = " + "".join(f"{count:16d}" for count in self.counts)
        yield f"   ISPIN  = {2 if self.spin else 1:6d}    spin polarized calculation?"
        if self.vectors:
            yield "   LNONCOLLINEAR =      T non collinear calculations"
        yield f"   NELM   = {self.nelm:6d};   NELMIN=  2; NELMDL= -5     # of ELM steps"
        yield "   EDIFF  = 0.1E-05   stopping-criterion for ELM"
        yield f"   NSW    = {self.steps:6d}    number of steps for IOM"
        yield f"   IBRION = {0 if self.md else 2:6d}    ionic relax: 0-MD 1-quasi-New 2-CG"

    def scf(self, step: int, iteration: int) -> Iterator[str]:
        change = self.change_of(iteration)
        energy = self.free_energy(step) + (0.0 if iteration == self.iterations else 10.0**-iteration)
        yield f"{'-' * 39} Iteration {step + 1:6d}({iteration:4d})  {'-' * 39}"
        yield f" total energy-change (2. order) :{change:14.7E}  ({-change:14.7E})"
        moment = "  1.5000000" if self.spin else " "
        if self.vectors:
            moment = "".join(f"{value:12.7f}" for value in self.moments(step).sum(axis=0))
        yield f" number of electron       8.0000000 magnetization {moment}"
        yield " Free energy of the ion-electron system (eV)"
        yield f"  free energy    TOTEN  = {energy:18.8f} eV"
        yield f"  energy without entropy = {energy:18.8f}  energy(sigma->0) = {energy:18.8f}"
        seconds = 1e7 if (step, iteration) == self.hangs else self.seconds
        yield f"      LOOP:  cpu time {seconds:9.4f}: real time {seconds:9.4f}"

    def ionic(self, step: int) -> Iterator[str]:
        yield f" E-fermi :   {1.5 + step:.4f}     XC(G=0): -10.0     alpha+bet :-16.1"
        converged = self.iterations < self.nelm and step not in self.unconverged
        reached = "because EDIFF is reached" if converged else "EDIFF was not reached (unconverged)"
        yield f"{'-' * 24} aborting loop {reached} {'-' * 40}"
        if self.vectors:
            yield from self.tables(step)
        yield "  in kB  " + "".join(f"{value:12.5f}" for value in self.kbar(step))
        if self.md:
            yield "  Total+kin. " + "".join(f"{value + 1:11.3f}" for value in self.kbar(step))
        yield "      direct lattice vectors                 reciprocal lattice vectors"
        for row in self.cell:
            yield "".join(f"{value:13.9f}" for value in (*row, *row))
        yield ""
        yield " POSITION                                       TOTAL-FORCE (eV/Angst)"
        yield " " + DASHES
        for position, force in zip(self.positions(step), self.forces(step), strict=True):
            yield "".join(f"{x:13.5f}" for x in position) + " " + "".join(f"{x:14.6f}" for x in force)
        yield " " + DASHES
        free = self.free_energy(step)
        yield "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)"
        yield f"  free  energy   TOTEN  = {free:18.8f} eV"
        yield ""
        yield f"  energy  without entropy= {free + 0.002:16.8f}  energy(sigma->0) = {free + 0.001:16.8f}"
        if self.md:
            yield f"  kinetic energy EKIN   = {self.kinetic_energy(step):12.6f}"
            yield f"  kin. lattice  EKIN_LAT=     0.000000  (temperature {self.temperature(step):8.2f} K)"
        if self.accurate and step == self.steps - 1:
            yield " reached required accuracy - stopping structural energy minimisation"
        yield f"     LOOP+:  cpu time {1.0:9.4f}: real time {self.seconds * self.iterations:9.4f}"

    def tables(self, step: int) -> Iterator[str]:
        """The moments of the atoms, a table for each axis."""
        for axis, column in zip("xyz", self.moments(step).T, strict=True):
            yield f" magnetization ({axis})"
            yield " "
            yield "# of ion       s       p       d       tot"
            yield "-" * 42
            for number, value in enumerate(column, start=1):
                yield f"{number:5d}    " + "".join(f"{part:8.3f}" for part in (0.0, 0.0, value, value))
            yield "-" * 50
            yield "tot      " + "".join(f"{part:8.3f}" for part in (0.0, 0.0, column.sum(), column.sum()))
            yield " "

    def outcar(self) -> str:
        lines = list(self.head())
        for step in range(self.steps):
            for iteration in range(1, self.iterations + 1):
                lines += self.scf(step, iteration)
            lines += self.ionic(step)
        if self.closing:
            lines += [" General timing and accounting informations for this job:", "  Elapsed time (sec):  1.0"]
        return "\n".join(lines) + "\n"

    def learnt(self, *predicted: int) -> str:
        """Return the OUTCAR of molecular dynamics by a force field that is learnt; these steps need no electrons.

        The layout is that of VASP 6.3: what the force field predicts for a step comes before the end of the one before.
        """
        lines = [*self.head(), *self.prediction(0)]
        for step in range(self.steps):
            if step not in predicted:
                for iteration in range(1, self.iterations + 1):
                    lines += self.scf(step, iteration)
                *body, end = self.ionic(step)
            else:
                *body, end = (line for line in self.ionic(step) if "EKIN" in line or "LOOP+" in line)
            lines += [*body, *(self.prediction(step + 1) if step + 1 < self.steps else []), end]
        return "\n".join([*lines, " General timing and accounting informations for this job:"]) + "\n"

    def prediction(self, step: int) -> Iterator[str]:
        """What the force field says of a step, which is a little wrong."""
        yield "  ML FORCE on cell =-STRESS in cart. coord. units (eV/cell)"
        yield "  in kB  " + "".join(f"{value + 7:12.5f}" for value in self.kbar(step))
        yield "      direct lattice vectors                 reciprocal lattice vectors"
        for row in self.cell:
            yield "".join(f"{value:13.9f}" for value in (*row, *row))
        yield "  POSITION                                       TOTAL-FORCE (eV/Angst) (ML)"
        yield " " + DASHES
        for position, force in zip(self.positions(step), self.forces(step) + 0.5, strict=True):
            yield "".join(f"{x:13.5f}" for x in position) + " " + "".join(f"{x:14.6f}" for x in force)
        yield " " + DASHES
        yield "  ML FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)"
        free = self.free_energy(step) + 0.25
        yield f"  free  energy ML TOTEN  = {free:18.8f} eV"
        yield f"  ML energy  without entropy= {free:16.8f}  ML energy(sigma->0) = {free:16.8f}"

    def stdout(self) -> str:
        lines = [f" running on {self.ranks:4d} total cores", f" vasp.{self.version} complex", *self.says]
        lines += [" entering main loop"]
        for step in range(self.steps):
            for iteration in range(1, self.iterations + 1):
                change = self.change_of(iteration)
                energies = f"{self.free_energy(step):18.12E}   {change:12.5E}  {-change:12.5E}"
                lines.append(f"DAV: {iteration:3d}    {energies}   720   0.1E-01")
            free = self.free_energy(step)
            md = f" T= {self.temperature(step):6.0f}. E= {free:.8E}" if self.md else ""
            mag = "  mag=     1.5000" if self.spin else ""
            lines.append(f" {step + 1:5d}{md} F= {free:.8E} E0= {free + 0.001:.8E}  d E ={-0.125:.6E}{mag}")
        return "\n".join(lines) + "\n"

    def xml(self) -> str:
        parts = ['<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n']
        atoms = [symbol for symbol, count in zip(self.species, self.counts, strict=True) for _ in range(count)]
        rows = "".join(f"<rc><c>{symbol:2s}</c><c>1</c></rc>\n" for symbol in atoms)
        if len(self.kpoints):
            weights = np.full((len(self.kpoints), 1), 1 / len(self.kpoints))
            parts.append(f" <kpoints>{_varray('kpointlist', self.kpoints)}{_varray('weights', weights)}</kpoints>\n")
        parts.append(f' <atominfo><array name="atoms"><set>\n{rows}</set></array></atominfo>\n')
        for step in range(self.steps):
            free = self.free_energy(step)
            energy = f'<energy><i name="e_fr_energy">{free:.8f}</i><i name="e_0_energy">{free + 0.001:.8f}</i></energy>'
            scaled = np.linalg.solve(self.cell.T, self.positions(step).T).T
            kb = np.array(self.kbar(step))[[0, 3, 5, 3, 1, 4, 5, 4, 2]].reshape(3, 3)
            parts.append(
                f" <calculation>\n  <scstep>{energy}</scstep>\n"
                f"  <structure><crystal>{_varray('basis', self.cell)}</crystal>\n"
                f"  {_varray('positions', scaled)}</structure>\n"
                f"  {_varray('forces', self.forces(step))}{_varray('stress', kb)}{energy}\n"
                f"  {self._eigenvalues()} </calculation>\n"
            )
        return "".join([*parts, "</modeling>\n"])

    def _eigenvalues(self) -> str:
        rows = [
            "".join(f"<r> {value:9.4f} {float(band < self.full):7.4f} </r>\n" for band, value in enumerate(each))
            for each in self.levels()
        ]
        points = "".join(f'<set comment="kpoint {n}">\n{each}</set>\n' for n, each in enumerate(rows, start=1))
        return f'<eigenvalues><array><set><set comment="spin 1">\n{points}</set></set></array></eigenvalues>\n'

    def write(self, directory: Path) -> Path:
        """Write a recording for the replay."""
        directory.mkdir(exist_ok=True)
        for name, text in {"OUTCAR": self.outcar(), "vasp_output": self.stdout(), "vasprun.xml": self.xml()}.items():
            (directory / name).write_text(text)
        return directory


def _varray(name: str, rows: np.ndarray) -> str:
    text = "".join("<v>" + " ".join(f"{value:16.8f}" for value in row) + " </v>\n" for row in rows)
    return f'<varray name="{name}" >\n{text}</varray>\n'


def potcar(symbol: str, *, suffix: str = "", enmax: float = 245.345, lexch: str = "PE") -> str:
    """Return the head of a POTCAR without any potential in it."""
    return (
        f"  PAW_PBE {symbol}{suffix} 01Jan2000\n   4.000\n parameters from PSCTR are:\n   VRHFIN ={symbol}: made up\n"
        f"   LEXCH  = {lexch}\n   TITEL  = PAW_PBE {symbol}{suffix} 01Jan2000\n"
        f"   ENMAX  =  {enmax}; ENMIN  =  {0.75 * enmax} eV\n End of Dataset\n"
    )
