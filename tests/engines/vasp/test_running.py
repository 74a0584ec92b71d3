"""How runs of VASP begin, end and fail; a replay stands in for VASP."""

from __future__ import annotations

import json
import os
import shutil
import stat

import numpy as np
import pytest
from ase import units

from nanoos_lab.core.errors import EngineError, ParameterError
from nanoos_lab.core.parameters import validate
from nanoos_lab.core.resources import Resources
from nanoos_lab.core.status import Reason
from nanoos_lab.core.units import UNITS, unit_of
from nanoos_lab.engines import registry
from nanoos_lab.engines.vasp import potcar
from nanoos_lab.engines.vasp.poscar import Order
from nanoos_lab.engines.vasp.watch import Watch
from nanoos_lab.store.checkpoints import find
from tests.engines.ase.running import requested
from tests.engines.context import RecordingContext
from tests.engines.vasp.recordings import recording
from tests.engines.vasp.running import alive, atoms_of, mixed, read_diary, run
from tests.engines.vasp.synthetic import Run

# -- what is looked at, and when --------------------------------------------------------------------------------------


def test_the_outcar_is_looked_at_less_often_the_longer_vasp_says_nothing(context) -> None:
    given = validate(registry.get("vasp").tasks["relax"], {"xc": "PBE"}, where="test")
    watch = Watch(atoms_of(Run()), Order.of(["Si", "Si"]), given, context, first=0)

    def patience_after(*lines: str | None) -> list[float]:
        found = []
        for line in lines:
            watch.heard(line)
            found.append(watch.patience())
        return found

    assert patience_after("one", None, None, None, None) == [0.5, 1.0, 2.0, 2.0, 2.0]
    assert patience_after("two", None) == [0.5, 1.0]
    context.watched = True
    assert patience_after("three", None, None, None) == [0.5] * 4


# -- runs that end well -----------------------------------------------------------------------------------------------


def test_a_relaxation_of_atoms_that_are_not_sorted(context, replay, tmp_path) -> None:
    made = Run(species=["In", "As"], counts=[2, 2], accurate=True, last_force=0.005)
    diary = replay(made.write(tmp_path / "recording"))
    atoms, order = mixed(made)
    assert atoms.get_chemical_symbols() == ["In", "As", "In", "As"]
    results = run(context, atoms, "relax", steps=10)
    assert context.steps == [0, 1, 2]
    assert context.series("scf_change").tolist() == [1e-9] * 3
    assert context.series("scf_iterations").tolist() == [4] * 3
    assert not results.stopped
    for step, sample in enumerate(context.samples):
        np.testing.assert_allclose(sample.frame.positions, made.positions(step)[order], atol=1e-9)
    np.testing.assert_array_equal(results.properties["forces"], made.forces(2)[order])
    np.testing.assert_allclose(results.structure.atoms().positions, made.positions(2)[order], atol=1e-7)
    assert results.structure.atoms().get_chemical_symbols() == atoms.get_chemical_symbols()
    assert results.properties["free_energy"] == made.free_energy(2)
    assert results.properties["steps"] == 2
    np.testing.assert_allclose(results.properties["stress"] / (-0.1 * units.GPa), [12, 20, 30, 5, -6, 4])
    assert context.series("pressure")[0] == pytest.approx(2.0)
    assert context.series("fmax")[2] == results.properties["fmax"] == pytest.approx(0.005, rel=0.2)
    entry = read_diary(diary)[0]
    assert entry["POSCAR"].splitlines()[5:7] == ["In As", "2 2"]
    assert "POTCAR" in entry["there"]
    assert "STOPCAR" not in entry["there"]


def test_what_made_the_results_is_recorded_and_no_potcar_stays(context, replay, tmp_path) -> None:
    made = Run(steps=1)
    replay(made.write(tmp_path / "recording"))
    results = run(context, atoms_of(made), "static", incar={"ALGO": "Fast"})
    assert "POTCAR" not in os.listdir(context.workdir)
    assert "WAVECAR" not in os.listdir(context.workdir)
    provenance = results.provenance
    assert provenance["potentials"][0]["title"] == "PAW_PBE Si 01Jan2000"
    assert len(provenance["potentials"][0]["sha256"]) == 64
    assert provenance["version"] == "6.2.0"
    assert provenance["incar"]["ALGO"] == "Fast"
    assert len(provenance["program_sha256"]) == 64
    assert "DAV:   1" in "\n".join(context.logged)
    json.dumps(provenance)


def test_a_program_of_any_name_has_its_place_among_what_made_the_results(
    context, replay, tmp_path, monkeypatch
) -> None:
    made = Run(steps=1)
    replay(made.write(tmp_path / "recording"))
    renamed = (tmp_path / "vasp_std").rename(tmp_path / "dft_6.4")
    monkeypatch.setenv("NANOOS_VASP_STD", str(renamed))
    results = run(context, atoms_of(made), "static")
    assert results.provenance["program"] == str(renamed)
    assert results.properties["free_energy"] == made.free_energy(0)


def test_wave_functions_stay_if_they_are_asked_for(context, replay, tmp_path) -> None:
    made = Run(steps=1)
    replay(made.write(tmp_path / "recording"))
    run(context, atoms_of(made), "static", incar={"LWAVE": True})
    assert (context.workdir / "WAVECAR").is_file()


def test_molecular_dynamics_has_time_temperature_and_energies(context, replay, tmp_path) -> None:
    made = Run(md=True, steps=5)
    replay(made.write(tmp_path / "recording"))
    run(context, atoms_of(made), "md", steps=4, timestep=2.0, every=2, ensemble="nvt", temperature=300)
    assert context.steps == [0, 2, 4]
    assert context.head.total == 4
    assert context.series("time").tolist() == [0, 4, 8]
    assert context.series("temperature").tolist() == [made.temperature(step) for step in (0, 2, 4)]
    assert context.series("kinetic_energy").tolist() == [made.kinetic_energy(step) for step in (0, 2, 4)]
    # VASP's forces are derivatives of the free energy.
    conserved = [made.free_energy(step) + made.kinetic_energy(step) for step in (0, 2, 4)]
    assert context.series("total_energy").tolist() == pytest.approx(conserved, abs=1e-12)
    assert context.series("potential_energy").tolist() == [made.free_energy(step) for step in (0, 2, 4)]
    assert context.series("pressure")[0] == pytest.approx(2.1)
    assert context.progress_steps == [0, 1, 2, 3, 4]


def test_atoms_that_leave_the_cell_are_followed(context, replay, tmp_path) -> None:
    """VASP puts them back on the other side."""
    made = Run(steps=2, accurate=True)
    positions = made.positions(0)
    text = made.outcar()
    replay(made.write(tmp_path / "recording"))
    atoms = atoms_of(made)
    atoms.positions[1] += made.cell[0] - 2 * made.cell[2]
    assert "POSITION" in text
    results = run(context, atoms, "relax")
    np.testing.assert_allclose(
        context.samples[0].frame.positions[1], positions[1] + made.cell[0] - 2 * made.cell[2], atol=1e-4
    )
    np.testing.assert_allclose(
        results.structure.atoms().positions, made.positions(1) + atoms.positions - positions, atol=1e-6
    )


def test_atoms_are_followed_from_attempt_to_attempt(context, replay, tmp_path) -> None:
    before, after = Run(steps=3, drift=0.3), Run(steps=2, drift=0.3, begin=2, accurate=True)
    replay(before.write(tmp_path / "before"), after.write(tmp_path / "after"))
    context.checkpoint_interval = 60.0
    with pytest.raises(EngineError, match="did not converge"):
        run(context, atoms_of(before), "relax", steps=2)
    work = tmp_path / "second"
    work.mkdir()
    found = find([context.place]).checkpoints
    second = RecordingContext(workdir=work, checkpoint_interval=60.0, checkpoints=found)
    results = run(second, atoms_of(before), "relax", steps=4)
    assert second.steps == [2, 3]
    for sample in second.samples:
        away = sample.frame.positions - before.positions(0)
        np.testing.assert_allclose(away, np.tile(0.3 * sample.step * before.cell.sum(axis=0), (2, 1)), atol=1e-4)
    np.testing.assert_allclose(results.structure.atoms().positions, second.samples[-1].frame.positions, atol=1e-4)


@pytest.mark.parametrize("told", [True, False], ids=["told by VASP", "not told"])
def test_no_random_numbers_come_again_in_the_next_attempt(context, replay, tmp_path, monkeypatch, told: bool) -> None:
    made = Run(md=True, steps=5)
    diary = replay(made.write(tmp_path / "recording"))
    if not told:
        monkeypatch.setenv("VASP_REPLAY_NO_REPORT", "1")
    values = {"timestep": 2.0, "ensemble": "nvt", "temperature": 300, "seed": 7}
    context.checkpoint_interval, context.checkpoint_steps = 60.0, 4
    run(context, atoms_of(made), "md", steps=4, **values)
    work = tmp_path / "second"
    work.mkdir()
    found = find([context.place]).checkpoints
    second = RecordingContext(workdir=work, checkpoint_interval=60.0, checkpoints=found)
    replay(Run(md=True, steps=3, begin=4).write(tmp_path / "other"))
    run(second, atoms_of(made), "md", steps=6, **values)
    first, other = read_diary(diary)
    assert "RANDOM_SEED = 7 0 0\n" in first["INCAR"]
    # The replay draws nine in a step, and may not have said so of the last one yet.
    seeds = found[0].facts["random_seed"]
    assert seeds in ([[7, 36, 0], [7, 45, 0]] if told else [None])
    assert f"RANDOM_SEED = {f'7 {seeds[1]} 0' if told else '11 0 0'}\n" in other["INCAR"]


def test_the_next_attempt_goes_on_where_the_ramp_of_the_temperature_stands(context, replay, tmp_path) -> None:
    made, rest = Run(md=True, steps=5, closing=False), Run(md=True, steps=5, begin=4)
    diary = replay(made.write(tmp_path / "broken off"), rest.write(tmp_path / "rest"))
    ramp = {"ensemble": "nvt", "temperature": 300, "temperature_end": 700, "steps": 8}
    context.checkpoint_interval = 60.0
    with pytest.raises(EngineError, match="without its closing words"):
        run(context, atoms_of(made), "md", **ramp)
    work = tmp_path / "second"
    work.mkdir()
    found = find([context.place]).checkpoints
    assert [each.step for each in found] == [4]
    run(RecordingContext(workdir=work, checkpoints=found), atoms_of(made), "md", **ramp)
    first, second = (entry["INCAR"] for entry in read_diary(diary))
    assert "TEBEG = 300.0\nTEEND = 700.0\n" in first
    assert "TEBEG = 500.0\nTEEND = 700.0\n" in second
    assert "NSW = 5\n" in second


def test_those_who_watch_see_every_scf_iteration(context, replay, tmp_path) -> None:
    made = Run(steps=1)
    replay(made.write(tmp_path / "recording"))
    context.watched = True
    run(context, atoms_of(made), "static")
    place = context.columns.index("scf_change")
    assert [sample.row[place] for sample in context.live_samples] == [1e-1, 1e-2, 1e-3, 1e-9]


def test_gamma_alone_has_a_program_of_its_own(context, replay, tmp_path, monkeypatch) -> None:
    made = Run(steps=1)
    replay(made.write(tmp_path / "recording"))
    other = tmp_path / "vasp_gam"
    other.write_text((tmp_path / "vasp_std").read_text())
    other.chmod(0o755)
    monkeypatch.setenv("NANOOS_VASP_GAM", str(other))
    results = run(context, atoms_of(made), "static", kpts=[1, 1, 1])
    assert results.provenance["program"] == str(other)
    again = RecordingContext(workdir=context.workdir)
    assert run(again, atoms_of(made), "static", kpts=[2, 1, 1]).provenance["program"] == str(tmp_path / "vasp_std")


def test_spin_orbit_coupling_needs_its_own_program(context, replay, tmp_path, monkeypatch) -> None:
    made = Run(steps=1)
    replay(made.write(tmp_path / "recording"))
    monkeypatch.setenv("NANOOS_VASP_NCL", str(tmp_path / "nowhere"))
    with pytest.raises(EngineError, match=r"NANOOS_VASP_NCL is '.*nowhere', where no program is") as caught:
        run(context, atoms_of(made), "static", soc=True)
    assert caught.value.reason is Reason.RESOURCE


def test_moments_with_three_components_are_those_of_the_users_atoms(context, replay, tmp_path, monkeypatch) -> None:
    made = Run(species=["In", "As"], counts=[2, 2], steps=1, vectors=True)
    diary = replay(made.write(tmp_path / "recording"))
    monkeypatch.setenv("NANOOS_VASP_NCL", os.environ["NANOOS_VASP_STD"])
    atoms, order = mixed(made)
    atoms.set_initial_magnetic_moments(2 * made.moments(0)[order])
    results = run(context, atoms, "static", soc=True)
    np.testing.assert_array_equal(results.properties["magmoms"], made.moments(0)[order])
    assert results.properties["magmom"] == pytest.approx(made.moments(0).sum(axis=0))
    size = np.linalg.norm(made.moments(0).sum(axis=0))
    assert context.series("magnetization")[-1] == pytest.approx(size)
    (line,) = [line for line in read_diary(diary)[0]["INCAR"].splitlines() if line.startswith("MAGMOM")]
    np.testing.assert_allclose(np.array(line.split()[2:], float).reshape(4, 3), 2 * made.moments(0))


# -- recordings of VASP -----------------------------------------------------------------------------------------------


def test_a_recorded_relaxation_is_run_to_its_end(context, replay) -> None:
    from ase.io import read

    place = recording("ionic-relax-magmom-carry-on/calc-001")
    replay(place / "out")
    atoms = read(place / "inp/POSCAR", format="vasp")
    atoms.set_initial_magnetic_moments([0.646])
    results = run(context, atoms, "relax", cell="free", steps=4, incar={"NUPDOWN": 2})
    known = read(place / "out/vasprun.xml", format="vasp-xml")
    assert context.steps == [0, 1, 2, 3]
    assert results.properties["energy"] == known.get_potential_energy()
    assert results.properties["free_energy"] == known.calc.results["free_energy"]
    np.testing.assert_array_equal(results.properties["forces"], known.get_forces())
    np.testing.assert_allclose(results.properties["stress"], known.get_stress(), atol=1e-12)
    assert results.properties["magmom"] == 2.0
    np.testing.assert_array_equal(results.properties["magmoms"], [0.634])
    assert results.properties["fermi_level"] == 0.54850507
    assert results.properties["eigenvalues"].shape == (2, 29, 6)
    assert results.properties["dos"].shape == (2, 301)
    # Of both spins together: its last value is the number of states of both.
    assert results.properties["dos_integral"].shape == (301,)
    width = np.ptp(results.properties["dos_energies"]) / 300
    assert results.properties["dos_integral"][-1] == pytest.approx(results.properties["dos"].sum() * width, rel=0.02)
    np.testing.assert_allclose(results.structure.atoms().cell.array, known.cell.array, atol=1e-12)
    assert results.provenance["version"] == "6.2.0"
    assert set(results.units) <= set(results.properties)
    assert not set(results.units) & set(UNITS)
    assert all(unit_of(name) or results.units[name] for name in results.properties if name != "converged")
    columns = {column.name: column.unit for column in context.head.columns}
    assert columns["magnetization"] == unit_of("magmom") == unit_of("magmoms")


@pytest.mark.parametrize(
    ("name", "task", "reason", "message"),
    [
        ("converged", "static", None, ""),
        ("converged-with-error", "static", Reason.ENGINE, "VASP says: BRMIX: very serious problems"),
        ("elec-unconverged", "static", Reason.CONVERGENCE, "the SCF cycle did not converge in 8 iterations"),
        ("ionic-unconverged", "relax", Reason.CONVERGENCE, "the relaxation did not converge"),
        ("unfinished", "static", Reason.ENGINE, "before its first ionic step was done, without its closing words"),
    ],
)
def test_verdicts_on_recordings(context, replay, name: str, task: str, reason: Reason | None, message: str) -> None:
    from ase.io import read

    place = recording(f"exit_codes/{name}/out")
    replay(place)
    context.resources = Resources(ranks=1)
    atoms = read(place / "POSCAR", format="vasp")
    # They were made with four ranks.
    spoken = (place / "vasp_output").read_text().replace("running on    4 total", "running on    1 total")
    copy = context.workdir.parent / "recording"
    copy.mkdir()
    for path in place.iterdir():
        (copy / path.name).symlink_to(path)
    (copy / "vasp_output").unlink()
    (copy / "vasp_output").write_text(spoken)
    replay(copy)
    steps = {"steps": 4} if task == "relax" else {}
    if reason is None:
        results = run(context, atoms, task)
        assert results.properties["free_energy"] == -6.50214658
        assert results.properties["energy"] == -6.50161629
        return
    with pytest.raises(EngineError, match=message) as caught:
        run(context, atoms, task, **steps)
    assert caught.value.reason is reason
    corrections = {
        "converged-with-error": {"incar": {"IMIX": 1}},
        "elec-unconverged": {"incar": {"ALGO": "All", "ISEARCH": 1}},
        "ionic-unconverged": {"steps": 8},
        "unfinished": None,
    }
    correction = caught.value.correction
    assert (correction.changes if correction else None) == corrections[name]


# -- failing ----------------------------------------------------------------------------------------------------------


def test_without_vasp_it_says_how_to_get_it(context, potentials, monkeypatch) -> None:
    monkeypatch.delenv("NANOOS_VASP_STD", raising=False)
    monkeypatch.setenv("PATH", str(context.workdir))
    info = registry.get("vasp").probe()
    assert not info.found
    assert "VASP, which is licensed software" in info.missing
    with pytest.raises(EngineError, match="vasp_std is not on the search path") as caught:
        run(context, atoms_of(Run()), "static")
    assert caught.value.reason is Reason.RESOURCE
    assert not (context.workdir / "POTCAR").exists()


def test_a_mistyped_place_of_vasp_is_said(context, potentials, monkeypatch) -> None:
    monkeypatch.setenv("NANOOS_VASP_STD", "/opt/vasp/vasp_sdt")
    assert "NANOOS_VASP_STD is '/opt/vasp/vasp_sdt', where no program is" in registry.get("vasp").probe().missing
    with pytest.raises(EngineError, match="NANOOS_VASP_STD is '/opt/vasp/vasp_sdt', where no program is"):
        run(context, atoms_of(Run()), "static")


def test_where_vasp_is_there_it_says_where(replay, tmp_path) -> None:
    info = registry.get("vasp").probe()
    assert info.found
    assert info.where == str(tmp_path / "vasp_std")
    assert info.tasks == ("static", "relax", "md", "bands")


def test_the_version_is_found_in_the_program(tmp_path, monkeypatch) -> None:
    program = tmp_path / "vasp_std"
    program.write_bytes(b"\x7fELF\0\0vasp.6.4.2 20Jul23\0complex\0")
    program.chmod(0o755)
    monkeypatch.setenv("NANOOS_VASP_STD", str(program))
    assert registry.get("vasp").probe().version == "6.4.2"
    assert registry.get("vasp").binary() == program


def test_a_worker_that_has_got_more_potentials_takes_the_one_of_the_submit(
    context, replay, potentials, tmp_path
) -> None:
    made = Run(steps=1)
    replay(made.write(tmp_path / "recording"))
    given = validate(registry.get("vasp").tasks["static"], {"xc": "PBE"}, where="test")
    context.files = {"potentials": potcar.note(["Si"], potcar.find(given, ["Si"]))}
    folder = potentials / "potpaw_PBE"
    shutil.copytree(folder / "Si", folder / "Si_GW")
    with pytest.raises(ParameterError, match="has Si, Si_GW for Si"):
        potcar.find(given, ["Si"])
    results = registry.get("vasp").run(requested(atoms_of(made), "static", engine="vasp", xc="PBE"), context)
    assert [each["folder"] for each in results.provenance["potentials"]] == ["potpaw_PBE/Si"]
    # It counts which one it is, not how it is called.
    shutil.rmtree(folder / "Si_GW")
    (folder / "Si").rename(folder / "Si_old")
    assert [each.path.parent.name for each in potcar.find(given, ["Si"], context.files["potentials"])] == ["Si_old"]


def test_a_worker_with_other_potentials_says_so(context, replay, potentials, tmp_path) -> None:
    made = Run(steps=1)
    replay(made.write(tmp_path / "recording"))
    species = ["Si"]
    given = validate(registry.get("vasp").tasks["static"], {"xc": "PBE"}, where="test")
    context.files = {"potentials": potcar.note(species, potcar.find(given, species))}
    run(context, atoms_of(made), "static")
    place = potentials / "potpaw_PBE" / "Si" / "POTCAR"
    place.write_text(place.read_text() + " changed\n")
    again = RecordingContext(workdir=context.workdir, files=context.files)
    with pytest.raises(EngineError, match="the POTCAR for Si is another one here") as caught:
        run(again, atoms_of(made), "static")
    assert caught.value.reason is Reason.RESOURCE
    assert again.head is None


def test_an_exit_code_with_all_the_marks_of_success_is_a_failure(context, replay, tmp_path) -> None:
    replay(Run(steps=1).write(tmp_path / "recording"), code=3)
    with pytest.raises(EngineError, match="exit code 3") as caught:
        run(context, atoms_of(Run()), "static")
    assert caught.value.reason is Reason.ENGINE


def test_an_output_without_its_end_is_a_failure_in_spite_of_exit_code_0(context, replay, tmp_path) -> None:
    replay(Run(steps=1, closing=False).write(tmp_path / "recording"))
    with pytest.raises(EngineError, match="after step 0, without its closing words"):
        run(context, atoms_of(Run()), "static")


def test_serial_copies_instead_of_ranks_are_noticed(context, replay, tmp_path) -> None:
    replay(Run(steps=1, ranks=4).write(tmp_path / "recording"))
    with pytest.raises(EngineError, match="runs with 4 MPI ranks instead of 1") as caught:
        run(context, atoms_of(Run()), "static")
    assert caught.value.reason is Reason.RESOURCE
    assert not alive(context.workdir)


def test_a_relaxation_out_of_steps_leaves_a_checkpoint_to_go_on_from(context, replay, tmp_path) -> None:
    replay(Run(steps=3).write(tmp_path / "recording"))
    context.checkpoint_interval = 60.0
    with pytest.raises(EngineError, match=r"fmax is 0\.5 eV/Å after 2 steps") as caught:
        run(context, atoms_of(Run()), "relax", steps=2)
    assert caught.value.correction is not None
    assert caught.value.correction.changes == {"steps": 4}
    assert context.checkpoint_made == [2]


def test_the_replay_refuses_what_is_not_there(context, replay, tmp_path) -> None:
    """It says so itself, and is believed."""
    replay(Run(steps=1, species=["Fe"]).write(tmp_path / "recording"))
    program = tmp_path / "vasp_std"
    program.write_text("#!/bin/sh\nrm -f POTCAR\n" + program.read_text().partition("\n")[2])
    assert program.stat().st_mode & stat.S_IXUSR
    with pytest.raises(EngineError, match="exit code 1 before its first ionic step"):
        run(context, atoms_of(Run()), "static")
    assert "there is no POTCAR" in "\n".join(context.logged)


def test_preloading_starts_no_program(replay, tmp_path) -> None:
    registry.get("vasp").preload()
    assert not (tmp_path / "diary.jsonl").exists()
    assert not alive(tmp_path)
