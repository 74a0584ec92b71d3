"""How runs go: in chunks that change nothing, stopped at once, in real trouble."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk

from nanoos_lab.core.errors import EngineError, InputError, ParameterError, StructureError, UnknownNameError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.base import EnginePolicy
from nanoos_lab.engines.lammps import LammpsEngine, library
from tests.engines.lammps.outside import Options, submitted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ase import Atoms

    from tests.engines.lammps.outside import Outcome

    Lammps = Callable[..., Outcome]

COPPER = {"potential": "Cu_u3.eam", "temperature": 600}
#: Edge of a crystal so large that whole live samples are dear, and some are only seen in passing.
LARGE = 20


def copper(n: int = 3) -> Atoms:
    return bulk("Cu", cubic=True) * (n, n, n)


@pytest.mark.parametrize(
    "ensemble",
    [{"ensemble": "nve"}, {"ensemble": "npt", "temperature_end": 900, "pressure": 1.0}],
    ids=["nve", "npt with a ramp"],
)
def test_chunks_watching_and_sampling_change_nothing(lammps: Lammps, ensemble: dict[str, object]) -> None:
    """Positions are equal to the last bit, whatever is sampled or watched."""
    often, seldom, watched = (
        lammps(copper(), "md", Options(watched=watch), **{**COPPER, **ensemble}, steps=600, every=every)
        for every, watch in ((7, False), (600, False), (600, True))
    )
    for run in (often, watched):
        np.testing.assert_array_equal(run.atoms.positions, seldom.atoms.positions)
        np.testing.assert_array_equal(run.atoms.get_velocities(), seldom.atoms.get_velocities())
    np.testing.assert_array_equal(watched.rows, seldom.rows)
    assert often.steps == list(range(0, 601, 7))
    assert len(often.steps) == 600 // 7 + 1


def test_one_seed_gives_one_path_and_another_seed_another(lammps: Lammps) -> None:
    first, again, other = (lammps(copper(), "md", **COPPER, steps=10, every=10, seed=seed) for seed in (11, 11, 12))
    np.testing.assert_array_equal(first.rows, again.rows)
    assert not np.array_equal(first.atoms.positions, other.atoms.positions)
    assert first.results.provenance["seed"] == 11


def test_a_watched_run_shows_live_samples_between_those_that_are_kept(lammps: Lammps) -> None:
    # So small that they are cheap: soon there is one.
    options = Options(watched=True, stop_after_live=1)
    run = lammps(copper(), "md", options, **COPPER, steps=10**9, every=50_000)
    steps = [sample.step for sample in run.live]
    assert steps == sorted(set(steps))
    assert not set(steps) & set(run.steps)
    assert {len(sample.row) for sample in run.live if sample.row} == {len(run.columns)}
    assert all(sample.frame is not None for sample in run.live)


def test_a_frame_seen_in_passing_is_the_one_that_is_there_at_that_step(lammps: Lammps) -> None:
    options = Options(watched=True, stop_after_live=0, stop_after_glimpses=1)
    run = lammps(copper(LARGE), "md", options, **COPPER, ensemble="npt", pressure=5.0, steps=10**9, every=10**9)
    [seen] = (sample for sample in run.live if not sample.row)
    there = lammps(copper(LARGE), "md", **COPPER, ensemble="npt", pressure=5.0, steps=seen.step, every=10**9)
    np.testing.assert_array_equal(seen.frame.positions, there.atoms.positions)
    np.testing.assert_array_equal(seen.frame.cell, there.atoms.cell.array)
    assert seen.frame.time == seen.step * 1.0


def test_what_fails_while_a_frame_is_seen_in_passing_ends_the_run(lammps: Lammps) -> None:
    with pytest.raises(AssertionError, match=r"_pass[\s\S]*BrokenPipeError: nobody listens"):
        lammps(copper(LARGE), "md", Options(watched=True, broken=True), **COPPER, steps=10**9, every=10**9)


def test_a_stop_ends_a_long_run_within_a_second(lammps: Lammps) -> None:
    run = lammps(copper(10), "md", Options(stop_after=0.5), **COPPER, steps=10**9, every=10**9)
    assert run.results.stopped
    assert run.stop_cpu < 1.0
    assert run.steps == [0]
    assert (run.workdir / "restart.lammps").stat().st_size > 0
    assert np.isfinite(run.atoms.positions).all()


def test_a_stop_ends_a_relaxation_too(lammps: Lammps) -> None:
    structure = copper(8)
    structure.rattle(0.3, seed=1)
    structure.set_cell(structure.cell * 1.03, scale_atoms=True)
    run = lammps(
        structure, "relax", Options(stop_after=0.2), potential="Cu_u3.eam", fmax=1e-8, steps=10**6, cell="free"
    )
    assert run.results.stopped
    assert run.stop_cpu < 1.0


def test_two_threads_give_the_same_forces(lammps: Lammps) -> None:
    structure = copper()
    structure.rattle(0.1, seed=1)
    one, two = (lammps(structure, "static", Options(threads=n), potential="Cu_u3.eam") for n in (1, 2))
    np.testing.assert_allclose(two["forces"], one["forces"], atol=1e-10)
    assert (one.results.provenance["suffix"], two.results.provenance["suffix"]) == ("opt", "omp")


def test_the_log_of_a_run_with_many_chunks_stays_small(lammps: Lammps) -> None:
    run = lammps(copper(2), "md", **COPPER, steps=3000, every=1)
    log = (run.workdir / "log.lammps").read_text()
    assert len(log) < 500_000
    assert "write_restart" in log
    assert len(run.steps) == 3001


def test_the_input_and_the_log_are_kept_and_potential_files_are_not_doubled(lammps: Lammps) -> None:
    run = lammps(copper(), "md", **COPPER, steps=10, every=10)
    assert sorted(path.name for path in run.workdir.iterdir()) == [
        "in.lammps",
        "log.lammps",
        "restart.lammps",
        "structure.data",
    ]
    commands = (run.workdir / "in.lammps").read_text()
    assert run.results.provenance["commands"] == commands
    assert "pair_coeff" in (run.workdir / "log.lammps").read_text()
    assert run.results.provenance["files"]["potential"]["name"] == "Cu_u3.eam"


def plain_lammps(run: Outcome, log: str) -> None:
    """Run the kept input of a run in LAMMPS's own executable, and dump where the atoms end, in full precision."""
    package, mpi, folder = library.folder(), library.mpi_library(), library.potentials_folder()
    assert package
    assert mpi
    assert folder
    (run.workdir / "Cu_u3.eam").symlink_to(folder / "Cu_u3.eam")
    dump = "write_dump all custom plain.dump id x y z modify sort id format float %.17g\n"
    (run.workdir / "in.plain").write_text((run.workdir / "in.lammps").read_text() + dump)
    command = [str(package / "lmp"), "-in", "in.plain", "-screen", "none", "-suffix", "opt", "-log", log]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(mpi.parent), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=run.workdir, env=environment, check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize("watched", [False, True])
def test_the_path_is_that_of_plain_lammps_to_the_last_bit(lammps: Lammps, watched: bool) -> None:
    run = lammps(copper(), "md", Options(watched=watched), **COPPER, timestep=2.0, steps=1000, every=100)
    plain_lammps(run, "plain.log")
    ended = np.loadtxt(run.workdir / "plain.dump", skiprows=9)[:, 1:]
    np.testing.assert_array_equal(run.atoms.positions, ended)


def test_the_kept_input_makes_the_same_run_in_plain_lammps(lammps: Lammps) -> None:
    structure = copper()
    structure.rotate(30, (1, 2, 3), rotate_cell=True)
    run = lammps(structure, "md", **COPPER, ensemble="nvt", temperature_end=700, timestep=2.0, steps=90, every=30)
    plain_lammps(run, "plain.log")
    number = r" +([-+\d.e]+)"
    rows = re.findall(rf"^{number * 7} *$", (run.workdir / "plain.log").read_text(), re.MULTILINE)
    expected = np.array(rows, dtype=float)
    assert run.steps == expected[:, 0].tolist()
    np.testing.assert_allclose(run.rows[:, 1:5], expected[:, 1:5], rtol=1e-9)
    np.testing.assert_allclose(run.series("pressure"), expected[:, 5] * 1e-4, rtol=1e-7)


def test_two_files_of_one_name_are_told_apart(lammps: Lammps, tmp_path: Path) -> None:
    folder = library.potentials_folder()
    assert folder
    paths = []
    for element in ("Cu", "Ni"):
        (tmp_path / element).mkdir()
        paths.append(tmp_path / element / "metal.eam")
        paths[-1].write_bytes((folder / f"{element}_u3.eam").read_bytes())
    alloy = bulk("CuNi", "cesiumchloride", a=2.85, cubic=True) * (3, 3, 3)
    same = lammps(alloy, "static", potential=[str(path) for path in paths])
    expected = lammps(alloy, "static", potential=["Cu_u3.eam", "Ni_u3.eam"])
    assert same["energy"] == expected["energy"]


def test_too_large_a_timestep_fails_with_lammps_words_and_a_remedy(lammps: Lammps) -> None:
    with pytest.raises(EngineError) as caught:
        lammps(copper(), "md", **COPPER, timestep=90, steps=1000, every=10)
    assert caught.value.reason == Reason.ENGINE
    assert "timestep" in caught.value.remedy
    assert "no longer finite" in caught.value.message or "LAMMPS says" in caught.value.message


def test_a_relaxation_without_enough_steps_says_how_far_it_came(lammps: Lammps) -> None:
    structure = copper()
    structure.rattle(0.1, seed=1)
    with pytest.raises(EngineError, match="after 3 steps") as caught:
        lammps(structure, "relax", potential="Cu_u3.eam", fmax=1e-5, steps=3)
    assert caught.value.reason == Reason.CONVERGENCE


def check(structure: Atoms, task: str = "static", **parameters: object) -> None:
    submitted(structure, task, EnginePolicy(), **parameters)


def test_an_element_without_a_potential_is_named_with_those_that_have_one() -> None:
    with pytest.raises(StructureError, match=r"has nothing for Al; it is for Cu"):
        check(bulk("Al"), potential="Cu_u3.eam")
    with pytest.raises(StructureError, match=r"has nothing for O; it is for C, Si"):
        check(bulk("SiO", "zincblende", a=4.3), potential="SiC.tersoff")


def test_a_combination_without_parameters_is_named() -> None:
    with pytest.raises(StructureError, match=r"has nothing for C-C-Ge"):
        check(bulk("GeC", "zincblende", a=4.6), potential="SiCGe.tersoff")


def test_a_misspelt_potential_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError) as caught:
        check(bulk("Cu"), potential="Cu_u4.eam")
    assert caught.value.nearest in ("Cu_u3.eam", "Cu_u6.eam")


def test_a_potential_may_be_given_without_its_ending_by_mistake_or_as_a_path(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError) as caught:
        check(bulk("Cu"), potential="Cu_u3")
    assert caught.value.nearest == "Cu_u3.eam"
    folder = library.potentials_folder()
    assert folder
    own = tmp_path / "my copper.eam"
    own.write_bytes((folder / "Cu_u3.eam").read_bytes())
    check(bulk("Cu"), potential=own)


def test_a_missing_unreadable_or_wrong_potential_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="there is no file"):
        check(bulk("Cu"), potential=str(tmp_path / "mine.eam"))
    wrong = tmp_path / "wrong.eam.alloy"
    wrong.write_text("this is\nno potential\n")
    with pytest.raises(ParameterError, match="not a eam/alloy potential file"):
        check(bulk("Cu"), potential=str(wrong))
    binary = tmp_path / "binary.sw"
    binary.write_bytes(bytes(range(256)))
    with pytest.raises(ParameterError, match="not a sw potential file"):
        check(bulk("Si"), potential=str(binary))
    nameless = tmp_path / "mine.pot"
    nameless.write_text("")
    with pytest.raises(ParameterError, match="pair_style"):
        check(bulk("Cu"), potential=str(nameless))
    with pytest.raises(UnknownNameError) as caught:
        check(bulk("Cu"), potential=str(nameless), pair_style="eam/aloy")
    assert caught.value.nearest == "eam/alloy"


def test_a_potential_in_other_units_is_refused(tmp_path: Path) -> None:
    real = tmp_path / "real.eam"
    real.write_text("DATE: 2007-06-11 UNITS: real CITATION: none\n29 63.55 3.615 FCC\n")
    with pytest.raises(ParameterError, match="units 'real'"):
        check(bulk("Cu"), potential=str(real))


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"potential": "lj", "sigma": 3.4}, "epsilon"),
        ({"potential": "Cu_u3.eam", "sigma": 3.4}, "sigma"),
        ({"potential": ["Cu_u3.eam", "Cu_mishin1.eam.alloy"]}, "potential"),
        ({"potential": "Cu_u3.eam", "elements": ["Cu"]}, "elements"),
        ({"potential": "lj", "epsilon": 0.1, "sigma": 3.4, "pair_style": "eam"}, "pair_style"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(parameters: dict[str, object], field: str) -> None:
    with pytest.raises(ParameterError) as caught:
        check(bulk("Cu"), **parameters)
    assert caught.value.field == field


def test_meam_asks_for_the_order_of_its_elements() -> None:
    carbide = bulk("SiC", "zincblende", a=4.28)
    with pytest.raises(ParameterError, match="elements"):
        check(carbide, potential="SiC.meam")
    with pytest.raises(UnknownNameError):
        check(carbide, potential="SiC.meam", elements=["Si", "Carbon"])
    with pytest.raises(ParameterError, match="must cover C too"):
        check(carbide, potential="SiC.meam", elements=["Si"])


def test_constraints_that_lammps_cannot_keep_are_refused() -> None:
    from ase.constraints import FixAtoms, FixBondLengths, FixCartesian

    structure = copper()
    structure.set_constraint(FixBondLengths([[0, 1]]))
    with pytest.raises(StructureError, match="FixBondLengths"):
        check(structure, "md", **COPPER, steps=1)
    structure.set_constraint([FixAtoms([0]), FixCartesian(1)])
    with pytest.raises(StructureError, match="FixCartesian"):
        check(structure, "relax", potential="Cu_u3.eam")


def test_what_needs_a_periodic_and_free_crystal_is_refused_for_others() -> None:
    from ase.constraints import FixAtoms

    slab = copper()
    slab.pbc = (True, True, False)
    held = copper()
    held.set_constraint(FixAtoms([0]))
    for structure in (slab, held):
        with pytest.raises(StructureError):
            check(structure, "md", **COPPER, ensemble="npt", pressure=0.0, steps=1)
        with pytest.raises(StructureError):
            check(structure, "relax", potential="Cu_u3.eam", cell="free")


def test_a_task_without_its_structure_is_refused() -> None:
    with pytest.raises(InputError, match="needs a structure"):
        submitted(None, "static", potential="Cu_u3.eam")


def test_the_probe_finds_the_wheel_without_loading_it() -> None:
    info = LammpsEngine().probe()
    assert info.found
    assert info.version
    assert info.missing == ""
    assert set(info.tasks) == {"static", "relax", "md", "script"}


def test_preloading_starts_no_thread_and_no_mpi() -> None:
    """Workers fork after it; they run with one thread for each library, OpenBLAS among them."""
    code = """
import ctypes, os, sys
from nanoos_lab.engines.lammps import LammpsEngine, library
assert "lammps" not in sys.modules
before = dict(os.environ)
LammpsEngine().preload()
assert "lammps" in sys.modules
assert dict(os.environ) == before
assert len(os.listdir("/proc/self/task")) == 1
from nanoos_lab.engines.lammps.library import mpi_library
flag = ctypes.c_int(-1)
assert ctypes.CDLL(str(mpi_library())).MPI_Initialized(ctypes.byref(flag)) == 0
print("MPI initialised:", flag.value)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "MPI initialised: 0\n"


def test_importing_the_engine_imports_neither_lammps_nor_pandas() -> None:
    code = (
        "import sys, nanoos_lab.engines.lammps; "
        "print(sorted({'lammps', 'pandas', 'rq', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
