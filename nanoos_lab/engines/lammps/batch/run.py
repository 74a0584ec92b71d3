"""One run of the executable, followed by its output."""

from __future__ import annotations

import os
import shutil
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.frames import Results, Sample
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import program, silence
from nanoos_lab.engines.lammps import executable, failures
from nanoos_lab.engines.lammps.batch import text
from nanoos_lab.engines.lammps.batch.output import DumpReader, Table, last_dump, ranks_in, version_in
from nanoos_lab.engines.lammps.session import INPUT_FILE, RESTART_FILE, provenance
from nanoos_lab.engines.lammps.simulation import View

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from nanoos_lab.core.frames import Frame
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.lammps.batch.output import Dump
    from nanoos_lab.engines.lammps.place import Place

    Array = np.ndarray[Any, Any]
    Row = dict[str, float]

#: File of the program's output, in the working directory.
_OUTPUT = "lammps.out"
#: What it says when it has come to its end.
_END = "Total wall time"
#: A column that all rows of the run itself have.
_OURS = text.VIRIAL.split()[0]
_POSITIONS, _VELOCITIES, _FORCES = ("xu", "yu", "zu"), ("vx", "vy", "vz"), ("fx", "fy", "fz")


class Run:
    """One run of the executable in the working directory of an attempt.

    Parameters
    ----------
    place
        The prepared directory.
    request
        What is wanted.
    context
        The run's context.
    """

    def __init__(self, place: Place, request: JobRequest, context: RunContext) -> None:
        self.view = View(place.system, request.parameters)
        #: The last row of thermo, by its headings.
        self.row: Row = {}
        #: The last frame that was read.
        self.frame: Frame | None = None
        self.stopped = False
        self._place = place
        self._request = request
        self._context = context
        self._version = ""
        self._ended = False
        self._error = ""
        self._waiting: deque[Row] = deque()
        self._suffix = "omp" if context.resources.threads > 1 else "opt"

    def execute(
        self,
        lines: Sequence[str],
        follow: Callable[[Row], bool],
        show: Callable[[Row, Frame], None],
        *,
        patience: float = 0.0,
    ) -> None:
        """Run an input to its end, or until the context asks to stop.

        Parameters
        ----------
        lines
            The input.
        follow
            Called with each new row of thermo; says whether its frame is wanted.
        show
            Called with a row and its frame, in order.
        patience
            Seconds that it may well take from row to row.

        Raises
        ------
        EngineError
            If LAMMPS fails, has other ranks than asked for, ends without a word, or has said nothing for too long.
        """
        directory = self._context.workdir
        (directory / INPUT_FILE).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        command = executable.command(*self._arguments(), resources=self._context.resources)
        frames = DumpReader(directory / text.FRAMES)
        table = Table()
        ask = (directory / text.STOP).touch
        stuck_after = silence.patience(least=patience)
        try:
            with program.Program(command, self._context, output=_OUTPUT, ask=ask, silence=stuck_after) as started:
                for line in started.lines(lambda: program.TICK if self._waiting else program.IDLE):
                    if line is not None:
                        self._hear(line)
                        row = table.feed(line)
                        # Rows without it are of what comes before the run.
                        if row is not None and _OURS in row:
                            self._take(row, follow)
                    self._show(frames, show)
                code = started.wait()
                self.stopped = started.stopped
                if not self.stopped and (code != 0 or not self._ended):
                    raise self._failure(code, started.errors)
            self._show(frames, show)
        finally:
            frames.close()
            (directory / text.STOP).unlink(missing_ok=True)
        if self._waiting and not self.stopped:
            step = int(self._waiting[0]["Step"])
            raise EngineError(f"the frame of step {step} is not in {text.FRAMES}", reason=Reason.ENGINE)

    def _arguments(self) -> tuple[str, ...]:
        threads = self._context.resources.threads
        many = ("-package", "omp", str(threads)) if threads > 1 else ()
        return ("-in", INPUT_FILE, "-log", "log.lammps", "-nocite", *many, "-suffix", self._suffix)

    def _hear(self, line: str) -> None:
        self._version = self._version or version_in(line) or ""
        self._ended |= line.startswith(_END)
        if line.startswith("ERROR"):
            self._error = self._error or line
        found, wanted = ranks_in(line), self._context.resources.ranks
        if found is not None and found != wanted:
            raise EngineError(
                f"LAMMPS runs with {found} MPI ranks, not with {wanted}: its launcher is not that of its MPI",
                reason=Reason.RESOURCE,
                remedy=f"Set {program.variable('mpirun')} to the mpirun of the MPI that LAMMPS was built with.",
            )

    def _take(self, row: Row, follow: Callable[[Row], bool]) -> None:
        if self.row and row["Step"] <= self.row["Step"]:
            # A minimiser that was started anew repeats its first row.
            self.row = row
            return
        self.row = row
        if follow(row):
            self._waiting.append(row)
        self._context.progress(int(row["Step"]))

    def _show(self, frames: DumpReader, show: Callable[[Row, Frame], None]) -> None:
        while self._waiting:
            row = self._waiting[0]
            dump = frames.read(int(row["Step"]))
            if dump is None:
                return
            self.frame = self._frame(dump)
            show(self._waiting.popleft(), self.frame)

    def _failure(self, code: int, errors: str) -> EngineError:
        if words := self._error or errors:
            return failures.explain(words, self._request.parameters)
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return EngineError(
            f"LAMMPS {how} and without a word",
            reason=Reason.ENGINE,
            remedy="It may have lacked memory; the files log.lammps and lammps.out of the job have its last words.",
        )

    # -- what it has computed -------------------------------------------------------------------------------------

    def _frame(self, dump: Dump) -> Frame:
        positions, velocities = dump.vectors(*_POSITIONS), dump.vectors(*_VELOCITIES)
        return self.view.frame_of(dump.step, positions, dump.cell, dump.origin, velocities)

    def thermo(self, row: Row, time: float, cell: Array) -> tuple[float, ...]:
        """Return the values of the usual columns and of the user's own."""
        values = [row[name] for name in ("Temp", "PotEng", "KinEng", "TotEng", "Press")]
        return self.view.row(int(row["Step"]), time, cell, values, row["Volume"]) + self.view.more_values(row)

    def sample(self, row: Row, frame: Frame) -> Sample:
        """Return a row and its frame."""
        return Sample(step=frame.step, row=self.thermo(row, frame.time, frame.cell), frame=frame)

    def final(self) -> tuple[Dump, Frame] | None:
        """Return the last frame of the run with its forces, if LAMMPS came to write it."""
        dump = last_dump(self._context.workdir / text.FINAL)
        return None if dump is None else (dump, self._frame(dump))

    def results(self, extra: dict[str, Any], **properties: Any) -> Results:
        """Return the results for the last structure; of a run that was stopped only that is certain."""
        end = self.final()
        if end is None and not self.stopped:
            raise EngineError(f"LAMMPS has not written {text.FINAL}", reason=Reason.ENGINE)
        frame = end[1] if end else self.frame
        commands = (self._context.workdir / INPUT_FILE).read_text(encoding="utf-8")
        made_by = {**provenance(self._request, self._version, self._suffix), "ranks": self._context.resources.ranks}
        return Results(
            properties={} if self.stopped or end is None else {**self._properties(end[0]), **properties},
            structure=self.view.structure_of(frame) if frame else None,
            provenance={**made_by, **extra, "commands": commands},
            stopped=self.stopped,
        )

    def _properties(self, dump: Dump) -> dict[str, Any]:
        row = self.row
        virial = [row[name] for name in text.VIRIAL.split()]
        found: dict[str, Any] = {
            "energy": row["PotEng"] * (self._place.system.units.energy or 1.0),
            "forces": self.view.forces_of(dump.vectors(*_FORCES)),
        }
        stress = self.view.stress_of(virial, dump.cell, row["Volume"])
        if np.isfinite(stress).all():
            found["stress"] = stress
        if "q" in dump.columns:
            found["charges"] = dump.columns["q"]
        return found

    def tidy(self) -> None:
        """Keep the restart file if it is whole, and no frames twice."""
        directory = self._context.workdir
        for name in (text.FRAMES, text.FINAL, text.BEGIN):
            (directory / name).unlink(missing_ok=True)
        for path in directory.glob(f"{text.ON_THE_WAY}.*"):
            path.unlink()
        last = directory / text.LAST
        if last.exists() and self._ended:
            os.replace(last, directory / RESTART_FILE)
        last.unlink(missing_ok=True)

    def save_last(self, target: Path) -> bool:
        """Copy the restart file of the end; False if there is none, or not all of it."""
        last = self._context.workdir / text.LAST
        if not (self._ended and last.exists()):
            return False
        shutil.copyfile(last, target)
        return True
