"""One run of pw.x in the working directory of an attempt: files in, events out, a verdict at the end."""

from __future__ import annotations

import shutil
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import program, scf, silence
from nanoos_lab.engines.espresso import failures, inputs, pseudos, schema
from nanoos_lab.engines.espresso.output import Cycle, Iteration, Reader
from nanoos_lab.engines.signatures import Scanner
from nanoos_lab.engines.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.espresso.inputs import Start
    from nanoos_lab.engines.espresso.parameters import EspressoParameters

    Follow = Callable[[Iteration | Cycle], None]

#: pw.x's input and output, in the working directory.
STEM = "espresso"
INPUT_FILE, OUTPUT_FILE = f"{STEM}.in", f"{STEM}.out"
#: A file with this name makes pw.x stop at the next chance, and save its state.
EXIT_FILE = f"{inputs.PREFIX}.EXIT"
#: How to get the program.
INSTALL = "install Quantum ESPRESSO, such as Debian's package quantum-espresso"
#: Error of an SCF cycle, in Ry, below which it is never given up.
_SMALL = 1e-6
#: Lines of the output that are remembered for a failure that says nothing we know.
_REMEMBERED = 12
#: Lines of the error stream that are MPI's, not the program's.
_NOISE = ("MPI", "mpi", "ORTE", "---", "NOTE:", "with errorcode", "You may or may not", "exactly when", "STOP ")


class Execution:
    """pw.x, run once for an attempt.

    Parameters
    ----------
    request
        What is wanted.
    parameters
        Its parameters.
    context
        The run's context.
    """

    def __init__(self, request: JobRequest, parameters: EspressoParameters, context: RunContext) -> None:
        if request.structure is None:
            raise EngineError("there is no structure", reason=Reason.INPUT)
        self.atoms = request.structure.atoms()
        inputs.set_in_motion(self.atoms, parameters)
        self.parameters = parameters
        self.reader = Reader(natoms=len(self.atoms))
        #: Whether the run was stopped before its end because the context asked for it.
        self.stopped = False
        #: Whether all that is wrong with it is that it has made all steps that it had.
        self.out_of_steps = False
        self._plain = dict(request.parameters)
        self._context = context
        self._names = {role: ref.name for role, ref in request.files.items()} or {
            role: path.name for role, path in context.files.items()
        }
        self._pseudos = pseudos.read_all(context.files, self._names)
        self._cutoffs = pseudos.cutoffs(context.files, self._pseudos)
        self._scanner = Scanner(failures.TABLE)
        self._accuracies: list[float] = []

    @property
    def out(self) -> Path:
        """The directory that pw.x writes to."""
        return self._context.workdir / inputs.OUTDIR

    @property
    def electrons(self) -> float:
        """Number of valence electrons."""
        return inputs.electrons(self.atoms, self.parameters, self._pseudos)

    def write(self, atoms: Atoms, start: Start | None = None, *, stem: str = STEM) -> None:
        """Write the input for a structure, and put the pseudopotentials beside it."""
        place = self._context.workdir / inputs.PSEUDO_DIR
        place.mkdir(exist_ok=True)
        self.out.mkdir(exist_ok=True)
        for symbol in self._pseudos:
            link = place / inputs.pseudo_file(symbol)
            link.unlink(missing_ok=True)
            link.symlink_to(self._context.files[pseudos.role(symbol)].resolve())
        text = inputs.write_inputs(atoms, self.parameters, self._pseudos, self._cutoffs, start)
        (self._context.workdir / f"{stem}.in").write_text(text, encoding="utf-8")
        # One that was left there would stop the run at once.
        (self._context.workdir / EXIT_FILE).unlink(missing_ok=True)

    def run(self, follow: Follow, *, stem: str = STEM) -> EngineError | None:
        """Run it to its end, or until the context asks to stop or it goes bad; return the error if it failed.

        Parameters
        ----------
        follow
            Called with each iteration and each complete cycle.
        stem
            Name of input and output, without their endings.

        Raises
        ------
        EngineError
            If it cannot be started, or from `follow`.
        """
        command = program.Command.of(
            program.required("pw.x", INSTALL), "-in", f"{stem}.in", resources=self._context.resources
        )
        ask = (self._context.workdir / EXIT_FILE).touch
        last: deque[str] = deque(maxlen=_REMEMBERED)
        patience = silence.patience(self.parameters.silence)
        with program.Program(command, self._context, output=f"{stem}.out", ask=ask, silence=patience) as running:
            for line in running.lines():
                if line is not None:
                    last.append(line)
                    self._scanner.feed(line)
                    error = self._take(self.reader.feed(line), follow)
                    if error is not None:
                        return error
            code = running.wait()
            errors = running.errors.splitlines()
            # pw.x looks for EXIT only between iterations: asked later, it comes to its end, and ends with 0.
            self.stopped = running.stopped and not (code == 0 and self.reader.done)
        if self.stopped:
            return None
        sign = self._scanner.scan(errors)
        self.out_of_steps = sign is not None and sign.signature.name == failures.STEPS
        error = failures.verdict(self.reader, sign, code, self._plain, words=telling(last, errors))
        # Only the first run of a task finds a density; a second one looks at its levels.
        if error is None and stem == STEM and self.reader.last is None:
            return failures.no_results()
        return error or (self.lack_of_bands() if stem == STEM else None)

    def lack_of_bands(self, *, from_start: bool = False) -> EngineError | None:
        """Return the error for a metal whose highest band is not empty at the end.

        Parameters
        ----------
        from_start
            Whether what was computed before is of no use either.
        """
        if self.parameters.smearing is None:
            return None
        return failures.lack_of_bands(schema.read(self.results_file).get("occupations"), from_start=from_start)

    def _take(self, event: Iteration | Cycle | None, follow: Follow) -> EngineError | None:
        """Hand over an event, or return the error for which the run is not worth going on."""
        asked = self._context.resources.ranks
        if self.reader.ranks not in (None, asked):
            return failures.wrong_ranks(asked, int(self.reader.ranks or 0))
        if event is None:
            return None
        if not np.isfinite(event.energy):
            return failures.not_finite(self._plain)
        if isinstance(event, Iteration):
            error = self._judge(event)
            if error is not None:
                return error
        else:
            self._accuracies.clear()
        follow(event)
        return None

    def _judge(self, event: Iteration) -> EngineError | None:
        """Return the error for an SCF cycle that gets nowhere."""
        if event.number == 1:
            # With exact exchange a cycle is many, one after the other.
            self._accuracies.clear()
        self._accuracies.append(event.accuracy)
        if self.parameters.asked("electrons", "scf_must_converge") is False:
            return None
        why = scf.hopeless(self._accuracies, most=self.parameters.scf_iterations, small=_SMALL)
        return None if why is None else failures.is_stuck(event.number, why, self._plain)

    # -- results -------------------------------------------------------------------------------------------------------

    def final(self, *caveats: str) -> dict[str, Any]:
        """Return the properties at the end: pw.x's own file has all digits; its output is there if that is not.

        Parameters
        ----------
        caveats
            What has not converged, besides the SCF cycle.
        """
        last = self.reader.last
        if last is None:
            return {}
        printed = _printed(last)
        found = {} if self.stopped else schema.read(self.results_file)
        # A file that an earlier cycle has left says nothing of this one.
        if "energy" not in found or abs(found["energy"] - last.energy) > _SAME:
            self._context.log("warning: results are from pw.x's output; its XML file is missing or of another state")
            found = {}
        found.pop("scf_converged", None)
        most = self.parameters.conv_thr
        if failures.unconverged(self.reader, most):
            error = f"its energy is still uncertain by {last.accuracy:.2g} Ry, where {most:g} Ry was asked for"
            caveats = (f"the SCF cycle has not converged, whatever pw.x says: {error}", *caveats)
        caveats = (*caveats, *self.missed())
        for caveat in caveats:
            self._context.log(f"warning: {caveat}")
        return {**printed, **found, **verdict(*caveats), "scf_iterations": last.iterations}

    def missed(self) -> Iterator[str]:
        """Yield what is to be said of eigenvalues that have not converged, if there are any."""
        if self.reader.missed:
            yield f"{self.reader.missed} eigenvalues have not converged: try another diagonalization"

    def final_atoms(self) -> Atoms:
        """Return the structure at the end, with pw.x's own digits where they are to be had."""
        atoms: Atoms = self.atoms.copy()
        last = self.reader.last
        if last is not None and last.positions is not None:
            place(atoms, last.positions, last.cell)
            exact = None if self.stopped else schema.structure(self.results_file)
            if exact is not None and np.allclose(exact.positions, last.positions, atol=1e-6):
                place(atoms, exact.positions, exact.cell.array if last.cell is not None else None)
        return atoms

    def provenance(self) -> dict[str, Any]:
        """Return what made the results."""
        return {
            "engine": "espresso",
            "version": self.reader.version,
            "ranks": self.reader.ranks,
            "pseudopotentials": {
                symbol: {"file": one.name, "functional": one.header.functional} for symbol, one in self._pseudos.items()
            },
        }

    def tidy(self) -> None:
        """Delete the wave functions: they are large, and nothing reads them any more."""
        for path in [*self.out.glob(f"{inputs.PREFIX}.save/wfc*"), *self.out.glob(f"{inputs.PREFIX}.wfc*")]:
            path.unlink(missing_ok=True)

    @property
    def results_file(self) -> Path:
        """Where pw.x writes all results."""
        return self.out / f"{inputs.PREFIX}.save" / "data-file-schema.xml"


#: How far an energy that pw.x prints may be from that in its file, in eV: the last digit, 1e-8 Ry, and rounding.
_SAME = 1e-5


def place(atoms: Atoms, positions: np.ndarray[Any, Any], cell: np.ndarray[Any, Any] | None) -> None:
    """Put atoms where they have been moved, past their constraints."""
    atoms.arrays["positions"][:] = positions
    if cell is not None:
        atoms.set_cell(cell)


def _printed(last: Cycle) -> dict[str, Any]:
    found: dict[str, Any] = {"energy": last.energy, "free_energy": last.energy}
    names = {"smearing_energy": "smearing", "fermi_level": "fermi", "magmom": "magnetization"}
    names |= {"magmoms": "moments", "forces": "forces", "stress": "stress"}
    return found | {name: getattr(last, key) for name, key in names.items() if getattr(last, key) is not None}


def telling(output: Iterable[str], errors: Iterable[str]) -> list[str]:
    """Return what a failed program has said last, without frames and MPI's farewell."""
    lines = [line.strip() for line in output if line.strip() and "%%%" not in line]
    boxed = next((index for index, line in enumerate(lines) if line.startswith("Error in routine")), None)
    if boxed is not None:
        return lines[boxed : boxed + 3]
    own = [line.strip() for line in errors if line.strip() and not any(word in line for word in _NOISE)]
    return own[:3]


def copy_state(source: Path, target: Path, *, limit: int) -> bool:
    """Copy what pw.x needs for a restart into a directory of plain files; say whether it was there and small enough.

    Where wave functions make it too large, they are left out: pw.x finds new ones for the density.

    Parameters
    ----------
    source
        pw.x's directory.
    target
        Where the copies go; ``pwscf.save/x`` becomes ``pwscf.save+x``.
    limit
        Most bytes in all.
    """
    files = [path for path in source.rglob("*") if path.is_file() and not path.is_symlink()]
    # Asked to stop when a cycle has just converged, it leaves nothing of the cycle.
    if not any(path.name.startswith(f"{inputs.PREFIX}.restart") for path in files):
        return False
    if _size(files) > limit:
        files = [path for path in files if not path.name.startswith(("wfc", f"{inputs.PREFIX}.wfc"))]
    if _size(files) > limit:
        return False
    for path in files:
        shutil.copyfile(path, target / "+".join(path.relative_to(source).parts))
    return True


def _size(files: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in files)


def put_state(source: Path, target: Path, names: Mapping[str, Any] | Iterable[str]) -> None:
    """Put back what `copy_state` has copied."""
    for name in names:
        path = target.joinpath(*name.split("+"))
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, path)
