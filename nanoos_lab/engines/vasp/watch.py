"""What is made of VASP's output while it runs: samples, progress, checkpoints, and early ends."""

from __future__ import annotations

import math
import re
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from ase import units

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.frames import Frame, RunHead, Sample
from nanoos_lab.core.status import Reason
from nanoos_lab.core.units import thermo_columns
from nanoos_lab.engines import scf
from nanoos_lab.engines.vasp import console, corrections, outcar, poscar
from nanoos_lab.engines.vasp.parameters import Given, VaspMDParameters, moves
from nanoos_lab.engines.vasp.tail import Tail
from nanoos_lab.engines.vasp.verdict import Signs, correctable, given_up

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.vasp.poscar import Order

Array = np.ndarray[Any, Any]

#: File in a checkpoint with the positions of the last step that was computed, as in `_State`.
SCALED = "scaled.npy"
#: Bytes of the end of a REPORT that have the words about the last step.
_REPORT_END = 1 << 16
_RANDOM_SEED = re.compile(rb"RANDOM_SEED\s*=\s*(\d+)\s+(\d+)\s+(\d+)[ \r]*\n")
#: Seconds between two looks at the OUTCAR, at least.
_LOOK = 0.1
#: The same when VASP says nothing: at first, and while somebody watches, since some of what belongs to its words may
#: come after them; while nobody does it is twice as long each time, up to so many.
_SOON, _LATE = 0.5, 2.0
#: Looks at a CONTCAR until one finds it whole.
_TRIES = 10
#: Rise of the energy in an ionic step at which atoms have come too close, in eV per atom.
_EXPLOSION = 1.0
#: Change of the energy in an SCF iteration, in eV, below which a cycle is never given up.
_SMALL = 1e-4
#: First iterations of a cycle that say nothing of it: up to 12 are made for a density that is kept (NELMDL).
_DELAY = 12
#: Positions in an OUTCAR have five digits: nearer than this, in Å, they are the same.
_SAME = 5e-5
#: Wave functions up to this size, in bytes, go into a checkpoint.
_LARGEST = 4 << 30

COLUMNS = thermo_columns("fmax", "free_energy", "magnetization", "scf_iterations", "scf_change")


@dataclass(frozen=True, kw_only=True, eq=False)
class _State:
    """From where another attempt can go on."""

    #: Its first step, and the last one that was computed.
    step: int
    evaluated: int
    #: Text of the CONTCAR.
    contcar: str
    #: Positions of the last one that was computed, in units of the cell vectors and not wrapped, in the user's order.
    scaled: Array
    #: Where VASP's random numbers stand; None if it has not said so.
    random_seed: list[int] | None
    #: Ionic steps so far whose SCF cycle has not converged.
    unconverged: int


class Watch:
    """Follows one run.

    Parameters
    ----------
    atoms
        The structure, in the user's order.
    order
        The order in VASP's files.
    given
        The task's parameters.
    context
        Takes what there is to say.
    first
        Step at which this attempt begins.
    scaled
        Positions from which atoms are followed across the sides of the cell, in units of the cell vectors and in the
        user's order, shape (atoms, 3); None for those of the structure.
    unconverged
        Ionic steps of earlier attempts whose SCF cycle has not converged.
    """

    def __init__(
        self,
        atoms: Atoms,
        order: Order,
        given: Given,
        context: RunContext,
        *,
        first: int,
        scaled: Array | None = None,
        unconverged: int = 0,
    ) -> None:
        self._given = given
        self._unconverged = unconverged
        self._context = context
        self._order = order
        self._first = first
        self._free = poscar.movable(atoms)
        self._atoms = atoms
        self._scaled = _scaled(atoms.positions, atoms.cell.array) if scaled is None else scaled
        self._reader = outcar.Reader()
        self._tail = Tail(context.workdir / "OUTCAR")
        self._looked = 0.0
        self._apart = _SOON
        self._checkpointed = time.monotonic()
        self._sampled: int | None = None
        self._held: _State | None = None
        self._due = False
        self._stepped_at = time.monotonic()
        self.signs = Signs(given)
        self.version = ""
        self.ranks: int | None = None
        #: The last step of the task that was computed, and the ionic step of VASP's that it was.
        self.step: int | None = None
        self.last: outcar.Step | None = None
        #: Changes of the energy in the iterations of the present SCF cycle, in eV; and how many cycles have begun.
        self._changes: list[float] = []
        self._cycles = 0

    @property
    def facts(self) -> outcar.Facts:
        """What the OUTCAR says so far."""
        return self._reader.facts

    @property
    def unconverged(self) -> int:
        """Ionic steps so far whose SCF cycle has not converged, those of earlier attempts included."""
        return self._unconverged + self.facts.unconverged

    @property
    def fmax(self) -> float:
        """Largest force on an atom that may move, in eV/Å."""
        return math.inf if self.last is None else self._fmax(self.last)

    @property
    def structure(self) -> tuple[Array, Array]:
        """Positions in Å, in the user's order and not wrapped into the cell, and cell vectors, of the last step."""
        cell = self._atoms.cell.array if self.last is None else self.last.cell
        return self._scaled @ cell, cell

    @property
    def slowest(self) -> float:
        """Seconds of the slowest ionic step so far, the present one included."""
        return max(self.facts.slowest, time.monotonic() - self._stepped_at)

    def unwrapped(self, scaled: Array, cell: Array) -> Array:
        """Return positions in Å, of the last step in more digits, on the side of the cell on which they are here."""
        moved: Array = (scaled + np.round(self._scaled - scaled)) @ cell
        return moved

    def begin(self) -> None:
        """Say what stays the same in the run."""
        total = getattr(self._given, "steps", 0)
        self._context.begin(
            RunHead(
                total=total if isinstance(self._given, VaspMDParameters) or not moves(self._given) else None,
                columns=COLUMNS,
                numbers=self._atoms.numbers,
                pbc=(bool(self._atoms.pbc[0]), bool(self._atoms.pbc[1]), bool(self._atoms.pbc[2])),
                masses=self._atoms.get_masses() if "masses" in self._atoms.arrays else None,
                first=self._first,
            )
        )

    def heard(self, line: str | None) -> None:
        """Take a line of the output, or the news that none came.

        Raises
        ------
        EngineError
            If the run has gone wrong and should end.
        """
        if line is not None:
            self._context.log(line)
            self._listen(line)
        self._apart = _SOON if line is not None else min(2 * self._apart, _LATE)
        now = time.monotonic()
        if line is None or now - self._looked >= _LOOK:
            self._looked = now
            self.look()

    def patience(self) -> float:
        """Return the seconds until the OUTCAR is to be looked at, if VASP says nothing."""
        return _SOON if self._context.watched else self._apart

    def look(self) -> None:
        """Read what is new in the OUTCAR, and make a checkpoint if one is due.

        Raises
        ------
        EngineError
            If the run has gone wrong and should end.
        """
        self._read()
        if self._due:
            self.save()

    def _read(self) -> None:
        for line in self._tail.lines():
            found = self._reader.feed(line)
            if isinstance(found, outcar.Step):
                self._stepped(found)

    def end(self) -> None:
        """Read what is left, once the program has ended."""
        self._read()
        last = self._reader.close()
        if last is not None:
            self._stepped(last)
        if self._due:
            self.save()
        if self.facts.unconverged > 1:
            self._context.log(
                f"warning: the SCF cycle did not converge in {self.facts.unconverged} of {self.facts.steps} ionic steps"
            )
        if self.step is not None and self.step != self._sampled and not isinstance(self._given, VaspMDParameters):
            self._sample()

    def _listen(self, line: str) -> None:
        if self.signs.feed(line):
            self._end_early()
        self.version = self.version or console.version(line) or ""
        iteration = console.scf(line)
        if iteration is not None:
            self._iterated(iteration)
            return
        ranks = console.ranks(line)
        if ranks is not None and self.ranks is None:
            self.ranks = ranks
            self._check_ranks(ranks)

    def _iterated(self, iteration: console.Scf) -> None:
        self._show(iteration)
        if iteration.number == 1:
            self._changes.clear()
            self._cycles += 1
        # Where the energy crosses itself its change is small by chance; that of the band energy is not, too.
        self._changes.append(max(abs(iteration.change), abs(iteration.band_change)))
        why = scf.hopeless(self._changes[_DELAY:], most=self._given.nelm, small=_SMALL)
        if why is None:
            return
        self.look()
        if self.facts.steps != self._cycles - 1:
            # The OUTCAR does not have the step before yet, or has this one already.
            return
        error = given_up(self._given, self.facts, iteration.number, why, first=self._first)
        if error is not None:
            self._give_up(error)

    def _end_early(self) -> None:
        """Raise what VASP says is wrong, if it is; where another attempt can go on, it finds a checkpoint."""
        self.look()
        error = self.signs.fatal(correctable(self._given, self.facts))
        if error is not None:
            self._give_up(error)

    def _give_up(self, error: EngineError) -> NoReturn:
        if self._context.checkpoint_interval and not (error.correction and error.correction.from_start):
            self.save()
        raise error

    def _check_ranks(self, ranks: int) -> None:
        asked = self._context.resources.ranks
        if ranks != asked:
            raise EngineError(
                f"VASP runs with {ranks} MPI ranks instead of {asked}: its launcher is of another MPI than itself",
                reason=Reason.RESOURCE,
                remedy="Set NANOOS_MPIRUN to the mpirun of the MPI that VASP was built with.",
            )

    # -- steps -----------------------------------------------------------------------------------------------------

    def _stepped(self, step: outcar.Step) -> None:
        before, self.last = self.last, step
        self._stepped_at = time.monotonic()
        self.step = self._first + step.number - 1
        self._check(before, step)
        if self.facts.unconverged == 1 and not step.scf_converged:
            self._context.log(f"warning: the SCF cycle did not converge at step {self.step}; later ones are counted")
        # VASP puts atoms that leave the cell back on the other side.
        scaled = _scaled(self._order.restore(step.positions), step.cell)
        self._scaled = scaled + np.round(self._scaled - scaled)
        if self.step % getattr(self._given, "every", 1) == 0:
            self._sample()
        self._context.progress(self.step)
        self._due = self._due or self._checkpoint_falls_here(self.step)

    def _check(self, before: outcar.Step | None, step: outcar.Step) -> None:
        parameters = self._given.model_dump(mode="json")
        if not math.isfinite(step.free_energy):
            raise EngineError(
                f"the energy is no longer a finite number at step {self.step}",
                reason=Reason.ENGINE,
                remedy="Take shorter steps, or check the structure for atoms that are too close.",
                correction=corrections.shorter_steps(parameters),
            )
        if before is None or not moves(self._given):
            return
        rise = (step.free_energy - before.free_energy) / len(self._atoms)
        # An optimiser tries long steps, and comes back from where atoms still are bound.
        if rise > _EXPLOSION and (step.free_energy > 0 or isinstance(self._given, VaspMDParameters)):
            raise EngineError(
                f"the energy has risen by {rise:.3g} eV per atom in one step, at step {self.step}",
                reason=Reason.ENGINE,
                remedy="Take shorter steps (timestep, or POTIM in incar), and check the structure for atoms that are "
                "too close.",
                correction=corrections.shorter_steps(parameters),
            )

    def _sample(self) -> None:
        if self.step is None or self.last is None:
            return
        self._sampled = self.step
        step = self.last
        cell = step.cell
        frame = Frame(
            step=self.step, time=self._time(self.step), positions=self._scaled @ cell, cell=cell, velocities=None
        )
        self._context.sample(Sample(step=self.step, row=self._row(self.step, step), frame=frame))

    def _row(self, number: int, step: outcar.Step) -> tuple[float, ...]:
        """Return a row of thermo.

        ``potential_energy`` of molecular dynamics is the free energy: forces are its derivatives, so with smearing it
        is its sum with the kinetic energy, ``total_energy``, that is conserved. Elsewhere it is the energy
        extrapolated to no smearing, as in the results.
        """
        stress = step.stress if step.kinetic_stress is None else step.kinetic_stress
        kinetic = step.kinetic_energy or 0.0
        potential = step.free_energy if isinstance(self._given, VaspMDParameters) else step.energy
        return (
            self._time(number),
            step.temperature or 0.0,
            potential,
            kinetic,
            potential + kinetic,
            math.nan if stress is None else -float(stress[:3].sum()) / 3 / units.GPa,
            abs(float(np.linalg.det(step.cell))),
            self._fmax(step),
            step.free_energy,
            float(np.linalg.norm(step.magnetization)) if len(step.magnetization) == 3 else sum(step.magnetization),
            float(step.scf_iterations),
            step.scf_change,
        )

    def _show(self, iteration: console.Scf) -> None:
        """Show an SCF iteration to those who watch: its energy, and by how much that has changed."""
        number = self._first if self.step is None else self.step + 1
        if not self._context.watched:
            return
        row = [math.nan] * len(COLUMNS)
        names = [column.name for column in COLUMNS]
        shown = {
            "time": self._time(number),
            "free_energy": iteration.energy,
            "scf_iterations": float(iteration.number),
            "scf_change": iteration.change,
        }
        for name, value in shown.items():
            row[names.index(name)] = value
        self._context.live(Sample(step=number, row=tuple(row), frame=None))

    def _time(self, number: int) -> float:
        return number * self._given.timestep if isinstance(self._given, VaspMDParameters) else 0.0

    def _fmax(self, step: outcar.Step) -> float:
        forces = self._order.restore(step.forces) * self._free
        return float(np.sqrt((forces**2).sum(axis=1).max()))

    # -- checkpoints -----------------------------------------------------------------------------------------------

    def _checkpoint_falls_here(self, step: int) -> bool:
        interval, steps = self._context.checkpoint_interval, self._context.checkpoint_steps
        if not interval or not moves(self._given):
            return False
        return step % steps == 0 and step > 0 if steps else time.monotonic() - self._checkpointed >= interval

    def save(self, *, waves: bool = False) -> None:
        """Make a checkpoint of where the run stands.

        Parameters
        ----------
        waves
            Whether to keep the wave functions, too: only once nobody writes them any more.
        """
        state = self._held if self.facts.broken_off else self._state() or self._held
        if state is None:
            return
        facts = {
            "evaluated": state.evaluated,
            "random_seed": state.random_seed,
            "unconverged": state.unconverged,
        }
        with self._context.checkpoint(state.step, facts) as directory:
            (directory / "CONTCAR").write_text(state.contcar)
            np.save(directory / SCALED, state.scaled)
            for name in ("WAVECAR", "CHGCAR") if waves else ():
                copy_if_fit(self._context.workdir / name, directory / name)
        self._checkpointed = time.monotonic()
        self._due = False

    def hold(self) -> None:
        """Remember where the run stands before VASP is asked to stop, for its last checkpoint.

        What its CONTCAR has after a stop within an ionic step is not documented, and if VASP has to be killed it may be
        half of one.
        """
        for _ in range(_TRIES):
            self.look()
            self._held = self._state()
            if self._held is not None or self.step is None or not moves(self._given):
                return
            time.sleep(_LOOK)

    def _state(self) -> _State | None:
        if self.step is None or not moves(self._given):
            return None
        before = self.step
        try:
            text = (self._context.workdir / "CONTCAR").read_text()
            there = poscar.read(text, self._order, velocities=isinstance(self._given, VaspMDParameters))
        except (OSError, ValueError):
            # It is being written; there will be another.
            return None
        self._read()
        if self.step != before:
            # Nor is it known of which step a file is that was read while VASP came to the next one.
            return None
        # After its last step VASP leaves the structure of that step, before it the one that comes next.
        step = self.step + (not self._is_last(there))
        return _State(
            step=step,
            evaluated=self.step,
            contcar=text,
            scaled=self._scaled,
            random_seed=_random_seed(self._context.workdir / "REPORT"),
            unconverged=self.unconverged,
        )

    def _is_last(self, there: poscar.Cell) -> bool:
        if self.last is None or not np.allclose(there.cell, self.last.cell, atol=1e-7):
            return False
        away = there.scaled - _scaled(self.last.positions, self.last.cell)
        away -= np.round(away)
        return bool(np.abs(away @ there.cell).max() < _SAME)


def _random_seed(report: Path) -> list[int] | None:
    """Return the last RANDOM_SEED in a REPORT; VASP adds one after each step (VASP wiki, page RANDOM_SEED)."""
    try:
        with report.open("rb") as file:
            file.seek(max(0, report.stat().st_size - _REPORT_END))
            found = _RANDOM_SEED.findall(file.read())
    except FileNotFoundError:
        return None
    return [int(word) for word in found[-1]] if found else None


def copy_if_fit(source: Path, target: Path) -> None:
    """Copy a file of wave functions or a charge density if it is there, has something in it, and is not too large."""
    if source.is_file() and 0 < source.stat().st_size <= _LARGEST:
        shutil.copyfile(source, target)


def _scaled(positions: Array, cell: Array) -> Array:
    found: Array = np.linalg.solve(np.asarray(cell).T, np.asarray(positions).T).T
    return found
