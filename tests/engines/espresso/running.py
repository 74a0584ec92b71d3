"""Run a task of pw.x as between a user's cell and the end of a job, without store and broker."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ase.build import bulk

from nanoos_lab.core.parameters import validate
from nanoos_lab.core.request import FileRef, JobRequest
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import program
from nanoos_lab.engines.base import EnginePolicy
from nanoos_lab.engines.espresso import EspressoEngine, failures, inputs, pseudos
from nanoos_lab.engines.espresso.output import Reader, read
from nanoos_lab.engines.signatures import Scanner
from nanoos_lab.store.checkpoints import find
from tests.engines.context import RecordingContext

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.core.errors import EngineError
    from nanoos_lab.core.frames import Results
    from nanoos_lab.engines.espresso.output import Cycle
    from nanoos_lab.engines.signatures import Sign

#: The name of the pseudopotential in the input of a run by hand.
FILE = "Si.upf"
#: Silicon as small as it makes sense: not converged, quick.
SILICON: Mapping[str, Any] = {"pseudos": {"Si": "Si.pz-vbc.UPF"}, "ecutwfc": 12, "kpts": (2, 2, 2)}
FAST: Mapping[str, Any] = {**SILICON, "kpts": (1, 1, 1)}
#: With iterations that last some tenth of a second, so that one who asks for a stop in the middle is not too late.
SLOW_SILICON: Mapping[str, Any] = {**SILICON, "ecutwfc": 30, "kpts": (6, 6, 6)}


def silicon(*, shift: float = 0.0, strain: float = 0.0, lattice: float = 5.40) -> Atoms:
    """Return the primitive cell of silicon, its second atom moved by so many Å, its cell strained."""
    atoms = bulk("Si", a=lattice)
    atoms.set_cell(atoms.cell * (1 + strain), scale_atoms=True)
    atoms.positions[1, 0] += shift
    return atoms


#: A cell much too large: it shrinks beyond the plane waves for which there is room.
SHRINKING = (silicon(strain=0.18, shift=0.1), {**SILICON, "ecutwfc": 16})


def request_of(atoms: Atoms, task: str, **parameters: Any) -> tuple[JobRequest, Mapping[str, Path]]:
    """Validate and check as `submit` does; return the request and its files."""
    engine = EspressoEngine()
    given = validate(engine.tasks[task], parameters, where=f"engine 'espresso', task {task!r}")
    structure = Structure.encode(atoms)
    files = engine.check(structure, task, given, EnginePolicy())
    refs = {
        role: FileRef(name=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
        for role, path in files.items()
    }
    plain = given.model_dump(mode="json")
    request = JobRequest(structure=structure, engine="espresso", task=task, parameters=plain, files=refs)
    return JobRequest.from_json(request.to_json(), structure), files


def text_of(atoms: Atoms, task: str = "static", **parameters: Any) -> str:
    """Return the input that a task writes."""
    request, files = request_of(atoms, task, **parameters)
    given = validate(EspressoEngine().tasks[task], request.parameters, where="here")
    return inputs.write_inputs(atoms, given, pseudos.read_all(files), pseudos.cutoffs(files, pseudos.read_all(files)))


def value(text: str, keyword: str) -> str:
    """Return the value of a keyword in an input."""
    (line,) = [line for line in text.splitlines() if line.split("=")[0].strip() == keyword]
    return line.split("=")[1].strip()


@dataclass
class Runner:
    """Runs one task after another, each in a directory of its own."""

    place: Path
    count: int = 0

    def context(self, **options: Any) -> RecordingContext:
        """Return a fresh context."""
        self.count += 1
        workdir = self.place / f"work{self.count}"
        workdir.mkdir()
        return RecordingContext(workdir=workdir, **options)

    def __call__(self, atoms: Atoms, task: str, context: RecordingContext | None = None, **parameters: Any) -> Run:
        """Run a task to its end."""
        request, files = request_of(atoms, task, **parameters)
        context = context or self.context()
        context.files = files
        return Run(EspressoEngine().run(request, context), context)


@dataclass
class Run:
    """What a run handed over, and what it left."""

    results: Results
    context: RecordingContext

    def __getitem__(self, name: str) -> Any:
        """Return a property."""
        return self.results.properties[name]

    @property
    def printed(self) -> tuple[Reader, list[Cycle]]:
        """What pw.x printed."""
        assert self.context.head is not None
        with (self.context.workdir / "espresso.out").open() as lines:
            return read(lines, len(self.context.head.numbers))


def continued(context: RecordingContext, pw: Runner) -> RecordingContext:
    """Return the context of an attempt that goes on from what another has left."""
    found = find([context.place])
    assert not found.refused
    return pw.context(checkpoints=found.checkpoints, checkpoint_interval=3600.0)


@dataclass
class Ended:
    """How pw.x has ended."""

    code: int
    done: bool
    sign: Sign | None
    error: EngineError | None


class ByHand:
    """Runs pw.x on inputs that the engine would never write.

    Parameters
    ----------
    place
        The directory.
    texts
        Inputs by the name of the task, as the engine writes them.
    """

    def __init__(self, place: Path, texts: dict[str, str]) -> None:
        self.place = place
        self._texts = texts
        (place / "pseudo").mkdir(parents=True)
        package = pseudos.directory(None)
        assert package is not None
        shutil.copy(package / "Si.pz-vbc.UPF", place / "pseudo" / FILE)
        shutil.copy(package / "Si.pbe-rrkj.UPF", place / "pseudo")

    def __call__(
        self,
        *changes: tuple[str, str],
        task: str = "static",
        launch: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> Ended:
        text = self._texts[task]
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (self.place / "pw.in").write_text(text)
        where = program.find("pw.x")
        assert where is not None
        words = (*launch, str(where), *options, "-in", "pw.in")
        root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        environment = {**os.environ, **root, "OMP_NUM_THREADS": "1"}
        said = subprocess.run(
            words, cwd=self.place, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        reader, scanner = Reader(natoms=2), Scanner(failures.TABLE)
        for line in said.stdout.splitlines():
            reader.feed(line)
            scanner.feed(line)
        sign = scanner.scan(said.stderr.splitlines())
        words_ = said.stdout.splitlines()[-5:]
        error = failures.verdict(reader, sign, said.returncode, {}, words=words_)
        return Ended(said.returncode, reader.done, sign, error)
