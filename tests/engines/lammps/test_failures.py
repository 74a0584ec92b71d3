"""Each way in which LAMMPS fails, on a real failing run: its class, its own line, a remedy, and what is corrected."""

from __future__ import annotations

import os
import resource
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.blowup import calmer
from nanoos_lab.engines.lammps import failures, library
from nanoos_lab.engines.signatures import Scanner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ase import Atoms

    from nanoos_lab.lab.lab import Lab
    from tests.engines.lammps.outside import Outcome

    Lammps = Callable[..., Outcome]

COPPER = {"potential": "Cu_u3.eam", "temperature": 600.0}
#: A box of one kind of atom with a pair style that can do no harm.
BOX = """\
units metal
region b block 0 12 0 12 0 12
create_box 1 b
create_atoms 1 random 20 4711 NULL overlap 2.0 maxtry 500
mass 1 63.5
"""
LJ = "pair_style lj/cut 5\npair_coeff * * 0.01 2.3\n"


def copper(n: int = 3) -> Atoms:
    return bulk("Cu", cubic=True) * (n, n, n)


def failure(lammps: Lammps, *args: Any, **parameters: Any) -> EngineError:
    with pytest.raises(EngineError) as caught:
        lammps(*args, **parameters)
    return caught.value


#: Name of a signature → a script that fails in that way.
SCRIPTS = {
    "lost atoms": BOX.replace("metal", "metal\nboundary f f f")
    + LJ
    + "velocity all create 1e5 1\nfix 1 all nve\nthermo 50\nrun 500",
    "not finite": BOX
    + LJ
    + "create_atoms 1 single 5 5 5\ncreate_atoms 1 single 5 5 5\nfix 1 all npt temp 300 300 0.1 iso 0 0 1\nrun 50",
    "no file": BOX + "variable f index none\npair_style eam/alloy\npair_coeff * * ${f}.eam.alloy Cu\nrun 0",
    "not covered": BOX + "pair_style eam/alloy\npair_coeff * * Cu_mishin1.eam.alloy Al\nrun 0",
    "unknown style": BOX + "variable x index nonsense\npair_style $x 5",
    # The page is large: LAMMPS writes all neighbours of an atom before it counts them, and must find room for them.
    "neighbour overflow": BOX.replace("random 20", "random 400").replace("overlap 2.0", "overlap 0.9")
    + "pair_style zero 11.0\npair_coeff * *\nneigh_modify one 10 page 100000\nrun 0",
    "no temperature": BOX + LJ + "velocity all set 0 0 0\nvelocity all scale 300",
    "moved too far": BOX.replace("metal", "metal\natom_style charge")
    + "group one id 1:10\nset group all charge 1\nset group one charge -1\npair_style coul/long 5\npair_coeff * *\n"
    "kspace_style pppm 1e-3\nneigh_modify delay 1000 every 1000 check no\nvelocity all create 1e6 1\nfix 1 all nve\n"
    "thermo 1000\nrun 500",
}


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_each_is_recognised_on_a_real_run(doomed_lammps: Lammps, name: str) -> None:
    error = failure(doomed_lammps, None, "script", script=SCRIPTS[name])
    signature = next(one for one in failures.TABLE if one.name == name)
    assert error.message.partition(": ")[2].startswith(signature.meaning) or signature.meaning in error.message
    assert "LAMMPS says: ERROR" in error.message
    assert (error.reason, error.remedy) == (signature.reason, signature.remedy)
    # What a script says is its author's own.
    assert error.correction is None


def output_of(directory: Path, script: str, memory: int | None = None) -> list[str]:
    """Run the program itself, with so many bytes of memory at most; return what it says."""
    package, mpi = library.folder(), library.mpi_library()
    assert package
    assert mpi
    (directory / "in").write_text(script)
    done = subprocess.run(
        [str(package / "lmp"), "-in", "in", "-nocite"],
        cwd=directory,
        env={**os.environ, "LD_LIBRARY_PATH": str(mpi.parent), "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory)) if memory else None,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return (done.stdout + done.stderr).splitlines()


def test_too_little_memory_is_told(tmp_path: Path) -> None:
    script = "units lj\nlattice fcc 0.8\nregion b block 0 60 0 60 0 60\ncreate_box 1 b\ncreate_atoms 1 box\n"
    sign = Scanner(failures.TABLE).scan(output_of(tmp_path, script + "replicate 4 4 4", memory=1 << 30))
    assert sign is not None
    assert (sign.signature.name, sign.signature.reason) == ("no memory", Reason.MEMORY)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("minimize 0 1e-9 3 1000", "out of steps"),
        ("minimize 0 1e-9 1000 5", "out of steps"),
        ("minimize 0 1e-30 100000 1000000", "no way down"),
    ],
)
def test_a_minimiser_that_does_not_converge_says_so_with_exit_code_0(tmp_path: Path, command: str, name: str) -> None:
    lines = output_of(tmp_path, BOX + LJ + command)
    assert lines[-1].startswith("Total wall time")
    sign = Scanner(failures.TABLE).scan(lines)
    assert sign is not None
    assert sign.signature.name == name
    error = sign.error("LAMMPS", {"fmax": 0.01, "steps": 3, "optimizer": "cg"})
    assert error.reason == Reason.CONVERGENCE
    assert error.correction is not None
    assert "Stopping criterion" in error.message


def test_every_signature_is_tried_here() -> None:
    tried = {*SCRIPTS, "no memory", "out of steps", "no way down"}
    assert {one.name for one in failures.TABLE} == tried


def test_a_blown_up_run_is_corrected_by_half_the_step_and_a_relaxation(lammps: Lammps) -> None:
    error = failure(lammps, copper(), "md", **COPPER, timestep=40.0, steps=2000, every=1000)
    assert error.correction is not None
    assert error.correction.changes == {"timestep": 20.0, "minimize_first": True}
    assert error.correction.from_start
    assert "from 40 to 20 fs" in error.correction.why
    assert calmer({"timestep": 0.09}) is None


def test_a_run_that_goes_bad_is_stopped_long_before_its_next_sample(lammps: Lammps) -> None:
    """With atoms pushed into each other energies explode in the first steps; the run would go on for hours."""
    pressed = copper(3)
    pressed.rattle(0.6, seed=2)
    error = failure(
        lammps, pressed, "md", potential="lj", epsilon=0.4, sigma=2.3, timestep=2.0, steps=10**9, every=10**9
    )
    assert error.reason == Reason.ENGINE
    assert "blew up" in error.message or "flew apart" in error.message
    assert error.correction is not None


def test_the_largest_forces_are_taken_off_before_the_first_step(lammps: Lammps) -> None:
    pressed = copper(3)
    pressed.rattle(0.25, seed=2)
    plain, calm = (lammps(pressed, "md", **COPPER, steps=20, every=10, minimize_first=first) for first in (False, True))
    assert calm.series("potential_energy")[0] < plain.series("potential_energy")[0] - 1
    assert calm.series("temperature")[0] == pytest.approx(600)
    assert calm.steps == [0, 10, 20]


def test_too_many_neighbours_are_given_room(doomed_lammps: Lammps, lammps: Lammps) -> None:
    dense = {"potential": "lj", "epsilon": 0.01, "sigma": 2.3, "cutoff": 25.0}
    error = failure(doomed_lammps, copper(2), "static", **dense)
    assert "Neighbor list overflow" in error.message
    assert error.correction is not None
    assert error.correction.changes == {"neighbors": 4000}
    found = lammps(copper(2), "static", **dense, neighbors=8000)
    assert np.isfinite(found["energy"])
    assert failures.more_room({"potential": "lj", "neighbors": 100_000}) is None


def test_a_relaxation_that_is_out_of_steps_goes_on_where_it_was(lammps: Lammps) -> None:
    structure = copper()
    structure.rattle(0.1, seed=1)
    error = failure(lammps, structure, "relax", potential="Cu_u3.eam", fmax=1e-5, steps=3)
    assert error.reason == Reason.CONVERGENCE
    assert error.correction is not None
    assert error.correction.changes == {"steps": 6}
    assert not error.correction.from_start


@pytest.mark.parametrize("optimizer", ["cg", "sd", "fire", "quickmin"])
def test_every_minimiser_finds_the_crystal(lammps: Lammps, optimizer: str) -> None:
    structure = copper(2)
    structure.rattle(0.05, seed=1)
    run = lammps(structure, "relax", potential="Cu_u3.eam", fmax=0.005, optimizer=optimizer, steps=2000)
    perfect = lammps(copper(2), "static", potential="Cu_u3.eam")
    assert run["energy"] == pytest.approx(perfect["energy"], abs=1e-3)


@pytest.mark.parametrize(
    ("line", "name", "reason"),
    [
        # As the program prints them at the end of a minimisation.
        ("  Stopping criterion = max iterations", "out of steps", Reason.CONVERGENCE),
        ("  Stopping criterion = max force evaluations", "out of steps", Reason.CONVERGENCE),
        ("  Stopping criterion = linesearch alpha is zero", "no way down", Reason.CONVERGENCE),
        ("ERROR on proc 0: Failed to allocate 8000000000000 bytes for array x", "no memory", Reason.MEMORY),
        ("ERROR: Lost atoms: original 864 current 17 (src/thermo.cpp:494)", "lost atoms", Reason.ENGINE),
    ],
)
def test_its_own_lines_are_recognised(line: str, name: str, reason: Reason) -> None:
    sign = Scanner(failures.TABLE).feed(line)
    assert sign is not None
    assert (sign.signature.name, sign.signature.reason) == (name, reason)


def test_an_unconverged_line_search_takes_another_minimiser() -> None:
    assert failures.other_optimizer({"fmax": 0.01, "optimizer": "cg"}).changes == {"optimizer": "sd"}
    assert failures.other_optimizer({"fmax": 0.01, "optimizer": "sd"}) is None


def test_in_a_lab_too_large_a_timestep_is_corrected_until_the_job_succeeds(lab: Lab) -> None:
    job = lab.submit(
        copper(), engine="lammps", task="md", **COPPER, timestep=40.0, steps=2000, every=500, retries=1
    ).wait(120)
    assert job.status == "succeeded"
    outcomes = [attempt.outcome for attempt in job.attempts]
    assert outcomes[-1] == "succeeded"
    assert len(outcomes) > 1
    assert set(outcomes[:-1]) == {"corrected"}
    halved = [attempt.correction.changes["timestep"] for attempt in job.attempts[:-1]]
    assert halved == [20.0, 10.0, 5.0, 2.5][: len(halved)]
    assert "the time step is halved from 40 to 20 fs" in job.attempts[0].correction.why
    assert job.attempts[-1].provenance["corrected"] == {"timestep": halved[-1], "minimize_first": True}
    assert job.thermo["time"].iloc[-1] == 2000 * halved[-1]


def test_in_a_lab_a_relaxation_out_of_steps_goes_on(lab: Lab) -> None:
    structure = copper()
    structure.rattle(0.1, seed=1)
    given = {"engine": "lammps", "task": "relax", "potential": "Cu_u3.eam", "fmax": 0.001, "steps": 6}
    job = lab.submit(structure, **given).wait(120)
    assert job.status == "succeeded"
    assert job.attempts[0].outcome == "corrected"
    assert job.results["fmax"] <= 0.001
    assert job.thermo.index.is_unique
    alone = lab.submit(structure, **given, corrections=False, cache=False).wait(60)
    assert (alone.status, alone.record.reason) == ("failed", "convergence")
