"""What pw.x says while it runs, read line by line: iterations of the SCF cycle and, at its end, energy, forces, stress.

Pure: lines in, values out, nothing is looked at twice, so that output of any length is read in constant memory. Numbers
are converted to ASE's units; the stress has ASE's sign, which is not pw.x's, and order: xx, yy, zz, yz, xz, xy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units

from nanoos_lab.engines.numbers import PATTERN, number, numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Array = np.ndarray[Any, Any]

_RY_PER_BOHR = units.Ry / units.Bohr
_NUMBER = f"({PATTERN})"
#: A row of a matrix: nothing but numbers, of which those beyond the third are in other units.
_ROW = re.compile(r"^([-+.\d*EeDdNnAaIiFfTtYy ]+)$")


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """One iteration of an SCF cycle that has not converged with it."""

    #: Its number in the cycle, from 1.
    number: int
    #: Energy so far, in eV.
    energy: float
    #: Estimate of its error, in Ry, as `conv_thr`.
    accuracy: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Cycle:
    """A complete SCF cycle, and the atoms for which it was made."""

    #: Positions in Å, shape (atoms, 3), to the digits that pw.x prints; None: those of the input.
    positions: Array | None = None
    #: Cell in Å, shape (3, 3); None: that of the input.
    cell: Array | None = None
    #: Total energy in eV; with a smearing it has the term −TS, as pw.x and ASE have it.
    energy: float = np.nan
    #: Estimate of its error, in Ry.
    accuracy: float = np.nan
    #: Iterations that it took.
    iterations: int = 0
    #: Whether pw.x says that it has converged.
    converged: bool = False
    #: Term −TS of the smearing, in eV.
    smearing: float | None = None
    #: Fermi energy, or highest occupied level, in eV.
    fermi: float | None = None
    #: Total magnetic moment, in Bohr magnetons: a number, or a vector of shape (3,) if spins may point anywhere.
    magnetization: float | Array | None = None
    #: Magnetic moments within spheres around the atoms, in Bohr magnetons, shape (atoms,), or (atoms, 3) if spins may
    #: point anywhere.
    moments: Array | None = None
    #: Forces in eV/Å, shape (atoms, 3).
    forces: Array | None = None
    #: Stress in eV/Å³.
    stress: Array | None = None
    #: Kinetic energy of the atoms in eV, and their temperature in K; molecular dynamics only.
    kinetic: float = 0.0
    temperature: float = 0.0


@dataclass(kw_only=True)
class Reader:
    """Reads the lines of one run.

    `feed` returns what a line completes: an iteration, a cycle, or nothing.
    """

    #: Number of atoms.
    natoms: int
    #: MPI ranks that the program says it has; None until it does.
    ranks: int | None = None
    #: Version of the program; empty until it says.
    version: str = ""
    #: Whether the program has come to its regular end, which it also does after many a failure.
    done: bool = False
    #: Whether the program says that its optimiser has converged.
    relaxed: bool = False
    #: Eigenvalues that its diagonalization has not found in the last iteration; in an earlier one they do not matter.
    missed: int = 0
    #: Positions and cell of the next cycle; None: as those of the last one.
    positions: Array | None = None
    cell: Array | None = None
    #: The last complete cycle.
    last: Cycle | None = None
    _cycle: Cycle | None = None
    _next: tuple[Array | None, Array | None] | None = None
    _iteration: int = 0
    _energy: float = np.nan
    _moment: float | Array | None = None
    _moments: list[list[float]] = field(default_factory=list)
    _fermi: float | None = None
    _block: _Block | None = field(default=None, repr=False)

    def feed(self, line: str) -> Iteration | Cycle | None:
        """Take one line of output."""
        if not line or line.isspace():
            return None
        if self._block is not None and self._block.take(line):
            if self._block.complete:
                self._block.done(np.array(self._block.rows))
                self._block = None
            return None
        for pattern, read in _RULES:
            if found := pattern.search(line):
                # What begins something else ends a block, also one of which a line could not be read.
                self._block = None
                return read(self, found)
        return None

    # -- what single lines mean ----------------------------------------------------------------------------------------

    def _program(self, found: re.Match[str]) -> None:
        self.version = found.group(1)

    def _count_ranks(self, found: re.Match[str]) -> None:
        self.ranks = int(found.group(1))

    def _serial(self, _: re.Match[str]) -> None:
        self.ranks = 1

    def _begin_iteration(self, found: re.Match[str]) -> None:
        self._iteration = int(found.group(1))
        self.missed = 0

    def _misses_eigenvalues(self, found: re.Match[str]) -> None:
        self.missed += int(found.group(1))

    def _total_energy(self, found: re.Match[str]) -> None:
        self._energy = number(found.group(2)) * units.Ry
        if found.group(1):
            self._cycle = Cycle(
                positions=self.positions,
                cell=self.cell,
                energy=self._energy,
                iterations=self._iteration,
                fermi=self._fermi,
                magnetization=self._moment,
                moments=self._moments_of_atoms(),
            )

    def _accuracy(self, found: re.Match[str]) -> Iteration | None:
        accuracy = number(found.group(1))
        if self._cycle is None:
            return Iteration(number=self._iteration, energy=self._energy, accuracy=accuracy)
        self._note(accuracy=accuracy)
        return None

    def _smearing(self, found: re.Match[str]) -> None:
        self._note(smearing=number(found.group(1)) * units.Ry)

    def _fermi_energy(self, found: re.Match[str]) -> None:
        self._fermi = number(found.group(1))

    def _magnetization(self, found: re.Match[str]) -> None:
        parts = [number(each) for each in found.groups()]
        self._moment = np.array(parts) if len(parts) > 1 else parts[0]
        self._note(magnetization=self._moment)

    def _moment_of_an_atom(self, found: re.Match[str]) -> None:
        row = [number(each) for each in found.groups()]
        if self._moments and (len(self._moments) == self.natoms or len(self._moments[0]) != len(row)):
            self._moments = []
        self._moments.append(row)

    def _moments_of_atoms(self) -> Array | None:
        if len(self._moments) != self.natoms:
            return None
        rows = np.array(self._moments)
        return rows[:, 0] if rows.shape[1] == 1 else rows

    def _converged(self, found: re.Match[str]) -> None:
        self._note(converged=True, iterations=int(found.group(1)))

    def _forces(self, _: re.Match[str]) -> None:
        def done(rows: Array) -> None:
            self._note(forces=rows * _RY_PER_BOHR)

        self._block = _Block(count=self.natoms, pattern=re.compile(r"atom .* force =(.*)"), done=done)

    def _stress(self, _: re.Match[str]) -> None:
        def done(rows: Array) -> None:
            xx, yy, zz = rows[0, 0], rows[1, 1], rows[2, 2]
            voigt = np.array([xx, yy, zz, rows[1, 2], rows[0, 2], rows[0, 1]])
            self._note(stress=-voigt * units.Ry / units.Bohr**3)

        self._block = _Block(count=3, pattern=_ROW, done=done)

    def _new_cell(self, found: re.Match[str]) -> None:
        scale = number(found.group(1)) * units.Bohr if found.group(1) else 1.0

        def done(rows: Array) -> None:
            self._next = (None if self._next is None else self._next[0], rows * scale)

        self._block = _Block(count=3, pattern=_ROW, done=done)

    def _new_positions(self, _: re.Match[str]) -> None:
        def done(rows: Array) -> None:
            self._next = (rows, None if self._next is None else self._next[1])

        self._block = _Block(count=self.natoms, pattern=re.compile(r"^ *[A-Z]\w* (.*)"), done=done)

    def _kinetic(self, found: re.Match[str]) -> None:
        self._note(kinetic=number(found.group(1)) * units.Ry)

    def _temperature(self, found: re.Match[str]) -> None:
        self._note(temperature=number(found.group(1)))

    def _is_relaxed(self, _: re.Match[str]) -> None:
        self.relaxed = True

    def _written(self, _: re.Match[str]) -> Cycle | None:
        """All has been said of a cycle; what was printed as next positions is where the next one begins."""
        cycle, self._cycle = self._cycle, None
        self._fermi = self._moment = None
        self._moments = []
        if self._next is not None:
            positions, cell = self._next
            self.positions = self.positions if positions is None else positions
            self.cell = self.cell if cell is None else cell
            self._next = None
        if cycle is not None:
            self.last = cycle
        return cycle

    def _job_done(self, _: re.Match[str]) -> None:
        self.done = True

    def _note(self, **values: Any) -> None:
        if self._cycle is not None:
            self._cycle = replace(self._cycle, **values)


@dataclass(kw_only=True)
class _Block:
    """A number of lines of one form that belong together, perhaps after others."""

    #: How many.
    count: int
    #: Their form; its group has the numbers, three or more.
    pattern: re.Pattern[str]
    #: Called with the numbers of all.
    done: Callable[[Array], None]
    #: Those so far.
    rows: list[list[float]] = field(default_factory=list)

    def take(self, line: str) -> bool:
        """Take a line; say whether it is one of the block's."""
        found = self.pattern.search(line)
        row = numbers(found.group(1))[:3] if found else []
        if len(row) == 3:
            self.rows.append(row)
        return len(row) == 3

    @property
    def complete(self) -> bool:
        """Whether all lines have come."""
        return len(self.rows) == self.count


def read(lines: Iterable[str], natoms: int) -> tuple[Reader, list[Cycle]]:
    """Read a whole output; return what the reader knows at its end, and all complete cycles."""
    reader = Reader(natoms=natoms)
    events = [reader.feed(line.rstrip("\n")) for line in lines]
    return reader, [event for event in events if isinstance(event, Cycle)]


_Rule = tuple[re.Pattern[str], "Callable[[Reader, re.Match[str]], Iteration | Cycle | None]"]
_RULES: tuple[_Rule, ...] = tuple(
    (re.compile(pattern), read_)
    for pattern, read_ in (
        (r"Program PWSCF v\.(\S+)", Reader._program),
        (r"running on +(\d+) processors", Reader._count_ranks),
        (r"Number of MPI processes: +(\d+)", Reader._count_ranks),
        (r"Serial (?:multi-threaded )?version", Reader._serial),
        (r"iteration # *(\d+) +ecut=", Reader._begin_iteration),
        (rf"^(!?) +total energy +=\s+{_NUMBER} Ry", Reader._total_energy),
        (rf"estimated scf accuracy +<\s+{_NUMBER} Ry", Reader._accuracy),
        (rf"smearing contrib\. \(-TS\) +=\s+{_NUMBER} Ry", Reader._smearing),
        (rf"the Fermi energy is\s+{_NUMBER} ev", Reader._fermi_energy),
        (rf"highest occupied level \(ev\):\s+{_NUMBER}", Reader._fermi_energy),
        (rf"highest occupied, lowest unoccupied level \(ev\):\s+{_NUMBER}", Reader._fermi_energy),
        (rf"total magnetization +=\s+{_NUMBER} Bohr", Reader._magnetization),
        (rf"total magnetization +=\s+{_NUMBER}\s+{_NUMBER}\s+{_NUMBER} Bohr", Reader._magnetization),
        # Of pw.x up to 6.7 and after it.
        (rf"^ *atom:? *\d+ .*magn[:=] *{_NUMBER}", Reader._moment_of_an_atom),
        (rf"^ *magnetization : +{_NUMBER}\s+{_NUMBER}\s+{_NUMBER}", Reader._moment_of_an_atom),
        (r"c_bands: +(\d+) eigenvalues not converged", Reader._misses_eigenvalues),
        (r"convergence has been achieved in +(\d+) iterations", Reader._converged),
        (r"Forces acting on atoms", Reader._forces),
        (r"total +stress +\(Ry/bohr\*\*3\)", Reader._stress),
        (rf"CELL_PARAMETERS \((?:angstrom|alat= *{_NUMBER})\)", Reader._new_cell),
        (r"ATOMIC_POSITIONS \(angstrom\)", Reader._new_positions),
        (rf"kinetic energy \(Ekin\) +=\s+{_NUMBER} Ry", Reader._kinetic),
        (rf"temperature +=\s+{_NUMBER} K", Reader._temperature),
        (r"bfgs converged in", Reader._is_relaxed),
        (r"Writing .*output data", Reader._written),
        (r"JOB DONE\.", Reader._job_done),
    )
)
