"""Vibrations at q = 0, from pw.x and ph.x."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms

from nanoos_lab.core.errors import EngineError, InputError, ParameterError, StructureError
from nanoos_lab.core.resources import Resources
from nanoos_lab.core.status import Reason
from nanoos_lab.core.units import unit_of
from nanoos_lab.engines import program
from nanoos_lab.engines.espresso import EspressoEngine, dynamical, phonons
from tests.engines.espresso.running import SILICON, request_of, silicon
from tests.waiting import quickest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engines.context import RecordingContext
    from tests.engines.espresso.running import Run, Runner

LDA: dict[str, Any] = {"pseudos": SILICON["pseudos"], "ecutwfc": 16, "kpts": (4, 4, 4)}
ALAS: dict[str, Any] = {"pseudos": {"Al": "Al.pz-vbc.UPF", "As": "As.pz-bhs.UPF"}, "ecutwfc": 16, "kpts": (4, 4, 4)}
#: THz of a wave number of one per centimetre.
PER_CM = 0.0299792458


def alas() -> Atoms:
    """Return the primitive cell of aluminium arsenide."""
    return bulk("AlAs", "zincblende", a=5.66)


def said(run: Run, pattern: str) -> list[float]:
    """Return the numbers that ph.x has printed in places of one form, in their order."""
    return [float(each) for each in re.findall(pattern, (run.context.workdir / phonons.OUTPUT).read_text())]


def test_silicon_vibrates_as_it_does_in_nature(pw: Runner) -> None:
    run = pw(silicon(lattice=5.43), "gamma_phonons", **LDA)
    frequencies, modes = run["frequencies"], run["modes"]
    assert frequencies[:3] == pytest.approx([0] * 3, abs=1e-4)
    # ph.x by hand: 15.4946 THz. Experiment: 15.53 THz; LDA, with ph.x's method: 15.5 THz (P. Giannozzi et al., Phys.
    # Rev. B 43, 7231 (1991)).
    assert frequencies[3:] == pytest.approx([15.4946] * 3, abs=1e-3)
    assert frequencies[3:] == pytest.approx([15.53] * 3, rel=0.01)
    assert modes.shape == (6, 2, 3)
    assert np.einsum("mia,nia->mn", modes, modes) == pytest.approx(np.eye(6), abs=1e-9)
    # First both atoms move alike, then they move against each other.
    assert modes[:3, 0] == pytest.approx(modes[:3, 1], abs=1e-6)
    assert modes[3:, 0] == pytest.approx(-modes[3:, 1], abs=1e-6)
    assert run["force_constants"].sum(axis=1) == pytest.approx(np.zeros((2, 3, 3)), abs=1e-9)
    # A crystal of one kind of atoms with an inversion between them has no Born charges.
    assert run["born_charges"] == pytest.approx(np.zeros((2, 3, 3)), abs=1e-4)
    assert "frequencies_along" not in run.results.properties
    assert not list(run.context.workdir.rglob("*wfc*"))
    assert not (run.context.workdir / "out" / "_ph0").exists()


def test_without_the_sum_rule_the_numbers_are_those_that_phx_prints(pw: Runner) -> None:
    atoms = alas()
    atoms.set_masses([26.0, 75.5])
    run = pw(atoms, "gamma_phonons", **ALAS, asr=False)
    assert run["frequencies"] == pytest.approx(said(run, r"freq \( +\d+\) = +(\S+) \[THz\]"), rel=2e-6, abs=5e-6)
    dielectric = (run.context.workdir / phonons.OUTPUT).read_text().split("Dielectric constant in cartesian axis")[-1]
    rows = [[float(each) for each in line.split()[1:4]] for line in dielectric.splitlines()[2:5]]
    assert run["dielectric_tensor"] == pytest.approx(np.array(rows), abs=1e-8)
    charges = np.array([re.findall(r"E[xyz] +\( +(\S+) +(\S+) +(\S+) \)", dielectric)], dtype=float)
    assert run["born_charges"] == pytest.approx(charges.reshape(2, 3, 3), abs=1e-5)
    # The mesh is too coarse for charges whose sum is zero.
    assert abs(run["born_charges"].sum()) > 1
    assert np.abs(run["frequencies"][:3]).min() > 0.01


def test_a_polar_crystal_has_charges_and_longitudinal_waves(pw: Runner) -> None:
    run = pw(alas(), "gamma_phonons", **ALAS, kshift=True, direction=(0, 0, 3))
    # LDA, with ph.x's method: 9.2, 2.17 e, 363 and 400 per centimetre (P. Giannozzi et al., Phys. Rev. B 43, 7231
    # (1991)); experiment: 8.2, 361 and 402.
    assert run["dielectric_tensor"] == pytest.approx(9.2 * np.eye(3), rel=0.05)
    charge = run["born_charges"][0, 0, 0]
    assert charge == pytest.approx(2.17, rel=0.05)
    assert run["born_charges"] == pytest.approx(np.array([charge * np.eye(3), -charge * np.eye(3)]), abs=1e-6)
    transverse, longitudinal = run["frequencies"][3:] / PER_CM, run["frequencies_along"][5] / PER_CM
    assert transverse == pytest.approx([363] * 3, rel=0.04)
    assert longitudinal == pytest.approx(400, rel=0.04)
    assert run["frequencies_along"][:5] == pytest.approx(run["frequencies"][:5], abs=1e-6)
    names = ("frequencies", "frequencies_along", "modes", "force_constants", "dielectric_tensor", "born_charges")
    assert [unit_of(name) for name in names] == ["THz", "THz", "1", "eV/Å²", "1", "e"]


@pytest.mark.parametrize("direction", [(1.0, 0.0, 0.0), (1.0, 2.0, -0.5)])
def test_longitudinal_waves_are_those_of_dynmatx(pw: Runner, tmp_path: Path, direction: tuple[float, ...]) -> None:
    run = pw(alas(), "gamma_phonons", **{**ALAS, "kpts": (2, 2, 2)}, direction=direction)
    along = ", ".join(f"q({axis}) = {part}" for axis, part in enumerate(direction, start=1))
    text = f"&input fildyn = '{phonons.MATRIX}', filout = 'modes', asr = 'crystal', {along} /\n"
    (run.context.workdir / "here.in").write_text(text)
    subprocess.run(["dynmat.x", "-in", "here.in"], cwd=run.context.workdir, check=True, capture_output=True)
    found = re.findall(r"= +(\S+) \[THz\]", (run.context.workdir / "modes").read_text())
    assert run["frequencies_along"] == pytest.approx(np.array(found, dtype=float), abs=2e-4)


def test_a_metal_vibrates_without_a_field(pw: Runner) -> None:
    # Two layers along a cube's axis: with q = 0 in this cell atoms move as they do at X, on the zone's boundary.
    a = 3.98
    cell = [[a / 2, a / 2, 0], [-a / 2, a / 2, 0], [0, 0, a]]
    aluminium = Atoms("Al2", positions=[[0, 0, 0], [0, a / 2, a / 2]], cell=cell, pbc=True)
    how = {"pseudos": {"Al": "Al.pz-vbc.UPF"}, "ecutwfc": 15, "kpts": (6, 6, 4), "smearing": "marzari-vanderbilt"}
    run = pw(aluminium, "gamma_phonons", **how, degauss=0.05)
    # Experiment: transverse 5.78 THz, longitudinal 9.69 THz (R. Stedman, G. Nilsson, Phys. Rev. 145, 492 (1966)).
    assert run["frequencies"][3:] == pytest.approx([5.78, 5.78, 9.69], rel=0.08)
    assert "dielectric_tensor" not in run.results.properties
    assert "Electric Fields" not in (run.context.workdir / phonons.OUTPUT).read_text()


def test_a_molecule_in_a_box_has_its_stretch(pw: Runner) -> None:
    h2 = molecule("H2")
    h2.positions *= 0.765 / h2.get_distance(0, 1)
    h2.center(vacuum=2.5)
    run = pw(h2, "gamma_phonons", pseudos={"H": "H.pz-vbc.UPF"}, ecutwfc=40, dielectric=False)
    # Experiment, harmonic: 4401 per centimetre (K. P. Huber, G. Herzberg, Constants of Diatomic Molecules); LDA is some
    # 5 % below.
    assert run["frequencies"][5] / PER_CM == pytest.approx(0.95 * 4401, rel=0.03)
    assert (np.abs(run["frequencies"][:5]) < 15).all()
    assert run["modes"][5, 0] == pytest.approx(-run["modes"][5, 1], abs=1e-4)


def test_a_structure_that_is_not_at_rest_is_told_and_may_be_unstable(pw: Runner) -> None:
    h2 = Atoms("H2", positions=[[0, 0, 0], [0, 0, 1.6]])
    h2.center(vacuum=1.5)
    run = pw(h2, "gamma_phonons", pseudos={"H": "H.pz-vbc.UPF"}, ecutwfc=20, dielectric=False)
    assert any("not relaxed: the largest force" in line for line in run.context.logged)
    # So far apart the atoms are less and less drawn to each other.
    assert run["frequencies"][0] < -20
    assert run["modes"][0, 0] == pytest.approx(-run["modes"][0, 1], abs=1e-4)
    still = pw(silicon(), "gamma_phonons", **SILICON, dielectric=False)
    assert not any("not relaxed" in line for line in still.context.logged)


def test_force_constants_are_derivatives_of_forces(pw: Runner) -> None:
    how = {**SILICON, "pseudos": {"Si": "Si.pbe-rrkj.UPF"}, "input": {"system": {"vdw_corr": "grimme-d2"}}}
    found = pw(silicon(), "gamma_phonons", **how, dielectric=False)["force_constants"]
    step, forces = 0.01, []
    for sign in (1, -1):
        atoms = silicon()
        atoms.positions[0, 0] += sign * step
        forces.append(pw(atoms, "static", **how, conv_thr=1e-12)["forces"])
    expected = -(forces[0] - forces[1]) / (2 * step)
    assert found[:, 0, :, 0] == pytest.approx(expected, abs=0.02)
    assert found[0, 0, 0, 0] == pytest.approx(17.8, abs=0.1)


def test_those_who_watch_see_iterations_and_what_has_been_found(pw: Runner) -> None:
    run = pw(silicon(), "gamma_phonons", **SILICON)
    steps = run.context.progress_steps
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > run["scf_iterations"] + 8
    told = [line for line in run.context.logged if line.startswith("ph.x: ")]
    assert [line.split(": ")[1] for line in told] == [
        "an electric field",
        "representation 1 of 2, mode 1, 2, 3",
        "representation 2 of 2, mode 4, 5, 6",
    ]
    counts = [int(re.findall(r"(\d+) iterations", line)[0]) for line in told]
    assert run["scf_iterations"] + sum(counts) == len(steps)


def test_ranks_find_the_same(pw: Runner) -> None:
    one = pw(silicon(), "gamma_phonons", **SILICON)
    two = pw(silicon(), "gamma_phonons", pw.context(resources=Resources(ranks=2)), **SILICON)
    assert two["frequencies"] == pytest.approx(one["frequencies"], abs=1e-3)


# -- how it ends -------------------------------------------------------------------------------------------------------


def stops(pw: Runner, monkeypatch: pytest.MonkeyPatch, reason: str = "cancel") -> RecordingContext:
    """Return a context that asks to stop when ph.x has found the first response."""
    context = pw.context(stop_reason=reason)
    log = context.log

    def ask(text: str) -> None:
        log(text)
        if text.startswith("ph.x: "):
            context.ask_to_stop()

    monkeypatch.setattr(context, "log", ask)
    return context


def test_a_cancel_ends_phx_within_two_seconds_by_its_own_file(pw: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds() -> float:
        asked: list[float] = []
        context = stops(pw, monkeypatch)
        context.on_stop(lambda: asked.append(time.monotonic()))
        run = pw(silicon(lattice=5.43), "gamma_phonons", context, **LDA)
        took = time.monotonic() - asked[0]
        assert run.results.stopped
        assert "frequencies" not in run.results.properties
        assert "Program stopped by user request" in (context.workdir / phonons.OUTPUT).read_text()
        assert not (context.workdir / "pwscf.EXIT").exists()
        return took

    assert quickest(seconds, limit=2.0) < 2.0


@pytest.mark.parametrize("dielectric", [True, False])
def test_a_response_that_does_not_converge_does_after_corrections(pw: Runner, *, dielectric: bool) -> None:
    given = {**SILICON, "dielectric": dielectric, "response_iterations": 2}
    with pytest.raises(EngineError, match="a response did not converge") as caught:
        pw(silicon(), "gamma_phonons", **given)
    error = caught.value
    assert error.reason is Reason.CONVERGENCE
    assert "response_mixing" in error.remedy
    assert error.correction.changes == {"response_mixing": 0.49, "response_iterations": 4}
    given |= {"response_mixing": 0.49, "response_iterations": 40}
    assert pw(silicon(), "gamma_phonons", **given)["frequencies"][5] > 10


def test_without_phx_no_work_is_done(pw: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANOOS_PH_X", "no/such/ph.x")
    context = pw.context()
    with pytest.raises(EngineError, match="NANOOS_PH_X"):
        pw(silicon(), "gamma_phonons", context, **SILICON)
    assert not (context.workdir / "espresso.out").exists()


def test_a_stop_file_from_elsewhere_is_told(pw: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    context = pw.context()
    monkeypatch.setattr(context, "log", lambda _: (context.workdir / "pwscf.EXIT").touch())
    with pytest.raises(EngineError, match=r"somebody stopped it by a file pwscf\.EXIT") as caught:
        pw(silicon(lattice=5.43), "gamma_phonons", context, **LDA)
    assert caught.value.reason is Reason.RESOURCE


def test_a_killed_phx_is_taken_for_one_without_memory(pw: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    context = pw.context()

    def kill(text: str) -> None:
        os.kill(int((context.workdir / "ph.pid").read_text()), signal.SIGKILL)

    monkeypatch.setattr(context, "log", kill)
    with pytest.raises(EngineError, match=r"ph\.x was killed .* memory ran out") as caught:
        pw(silicon(lattice=5.43), "gamma_phonons", context, **LDA)
    assert caught.value.reason is Reason.MEMORY


def test_a_response_that_blows_up_is_stopped(pw: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "ph.x"
    script.write_text(f"#!/bin/sh\n{program.find('ph.x')} \"$@\" | sed -u 's/ddv_scf|^2 = .*/ddv_scf|^2 = NaN/'\n")
    script.chmod(0o755)
    monkeypatch.setenv("NANOOS_PH_X", str(script))
    with pytest.raises(EngineError, match="a response blew up") as caught:
        pw(silicon(), "gamma_phonons", **SILICON)
    assert caught.value.correction.changes["response_mixing"] == 0.49


def test_a_matrix_that_was_cut_off_is_no_result(pw: Runner) -> None:
    run = pw(silicon(), "gamma_phonons", **SILICON)
    text = (run.context.workdir / phonons.MATRIX).read_text()
    whole = dynamical.read(text, 2)
    assert whole.dielectric_tensor is not None
    last = text.index("freq (    6)")
    for end in range(0, last, 97):
        with pytest.raises(EngineError, match="no whole dynamical matrix"):
            dynamical.read(text[:end], 2)
    with pytest.raises(EngineError, match="no whole"):
        dynamical.read(text, 3)


# -- what is refused ---------------------------------------------------------------------------------------------------


def iron(*moment: float) -> Atoms:
    """Return iron with a moment."""
    atoms = bulk("Fe", "bcc", a=2.8)
    del atoms.arrays["initial_magmoms"]
    atoms.set_initial_magnetic_moments([moment[0]] if len(moment) == 1 else [moment])
    return atoms


def hydrogen() -> Atoms:
    """Return an atom whose moment is along no axis of the program."""
    atoms = Atoms("H", cell=[3, 3, 3], pbc=True)
    atoms.set_initial_magnetic_moments([[1.0, 0.0, 0.0]])
    return atoms


IRON: dict[str, Any] = {"ecutwfc": 20, "ecutrho": 160, "kpts": (1, 1, 1), "smearing": "gaussian", "conv_thr": 1e-4}
ULTRASOFT = {"Fe": "Fe.pz-nd-rrkjus.UPF"}
FAST: dict[str, Any] = {**SILICON, "kpts": (1, 1, 1)}
PBE: dict[str, Any] = {**FAST, "pseudos": {"Si": "Si.pbe-rrkj.UPF"}}


def system(**keywords: Any) -> dict[str, Any]:
    """Return further keywords of pw.x."""
    return {"input": {"system": keywords}}


#: The structure, the parameters, and what is named when it is refused.
REFUSED = {
    "hybrid": (silicon(), {**FAST, **system(input_dft="pbe0", nqx1=1, nqx2=1, nqx3=1)}, "hybrid functional"),
    "meta": (silicon(), {**FAST, **system(input_dft="tpss")}, "meta-GGA functional"),
    "D3": (silicon(), {**PBE, **system(vdw_corr="grimme-d3")}, "vdw_corr"),
    "two levels": (iron(2.0), {**IRON, "pseudos": ULTRASOFT, **system(tot_magnetization=2)}, "one Fermi level"),
    "real space": (iron(0.0), {**IRON, "pseudos": ULTRASOFT, "input": {"electrons": {"tqr": True}}}, "tqr"),
    "PAW": (hydrogen(), {**IRON, "pseudos": {"H": "H.pbe-kjpaw.UPF"}, "ecutrho": 80}, "without PAW"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_phx_refuses_is_refused_at_submit(pw: Runner, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    atoms, how, named = REFUSED[name]
    with pytest.raises(InputError, match=named):
        request_of(atoms, "gamma_phonons", **how)
    # It does so once pw.x has found the density.
    monkeypatch.setattr(phonons, "check", lambda *_: None)
    with pytest.raises(EngineError, match=r"ph\.x cannot do what is asked for") as caught:
        pw(atoms, "gamma_phonons", **how)
    assert caught.value.reason is Reason.INPUT


#: What ph.x 6.7 has forgotten when it reads what pw.x has written: keywords, and by how much that matters.
FORGOTTEN = {
    # It has wrong force constants, by forces with and without a displacement: of silicon 17.81, not 17.64 eV/Å²,
    "vdw_corr": system(vdw_corr="ts-vdw"),
    # -19.5, not 25.2,
    "qcutz": system(ecfixed=5.0, qcutz=10.0, q2sigma=2.0),
    # and of a hydrogen molecule 18.28, not 13.24, and 14.29, not 13.77 eV/Å².
    "assume_isolated": system(assume_isolated="mt"),
    "tefield": {"input": {"control": {"tefield": True}, "system": {"edir": 3, "eamp": 0.05}}},
    # These were not measured.
    "lelfield": {"input": {"control": {"lelfield": True}}},
    "gate": {"input": {"control": {"gate": True}}},
    "constrained_magnetization": system(constrained_magnetization="total direction"),
}


@pytest.mark.parametrize("name", FORGOTTEN)
def test_what_phx_would_leave_out_without_a_word_is_refused(name: str) -> None:
    with pytest.raises(ParameterError, match=name):
        request_of(silicon(), "gamma_phonons", **PBE, **FORGOTTEN[name])


#: What looks much like it, and works.
TAKEN = {
    "spins": ({**FAST, **system(tot_magnetization=0)}, True),
    "D2": ({**PBE, **system(vdw_corr="grimme-d2")}, False),
    "coupled": ({**FAST, "pseudos": {"Si": "Si_r.upf"}, "ecutwfc": 15, "soc": True}, False),
    "ultrasoft": ({**FAST, "pseudos": {"Si": "Si.pbe-nl-rrkjus_psl.1.0.0.UPF"}, "ecutwfc": 20, "ecutrho": 80}, False),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_phx_can_do_is_not_refused(pw: Runner, name: str) -> None:
    how, moments = TAKEN[name]
    atoms = silicon()
    if moments:
        atoms.set_initial_magnetic_moments([0.1, -0.1])
    run = pw(atoms, "gamma_phonons", **how)
    assert run["frequencies"].shape == (6,)
    assert np.isfinite(run["dielectric_tensor"]).all()


def test_what_contradicts_itself_is_refused() -> None:
    metal = {**SILICON, "smearing": "gaussian"}
    with pytest.raises(ParameterError, match=r"dielectric=True.*only without smearing"):
        request_of(silicon(), "gamma_phonons", **metal, dielectric=True)
    for more in ({**metal, "direction": (1, 0, 0)}, {**SILICON, "direction": (1, 0, 0), "dielectric": False}):
        with pytest.raises(ParameterError, match=r"direction.*only with the dielectric tensor"):
            request_of(silicon(), "gamma_phonons", **more)
    with pytest.raises(ParameterError, match=r"direction.*not zero"):
        request_of(silicon(), "gamma_phonons", **SILICON, direction=(0, 0, 0))
    fixed = silicon()
    fixed.set_constraint(FixAtoms([0]))
    with pytest.raises(StructureError, match=r"ph\.x moves all atoms"):
        request_of(fixed, "gamma_phonons", **SILICON)


# -- the programs alone ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asr", [True, False])
def test_the_programs_alone_give_the_same_numbers(pw: Runner, tmp_path: Path, *, asr: bool) -> None:
    how = {**ALAS, "kpts": (2, 2, 2), "asr": asr}
    run = pw(alas(), "gamma_phonons", **how)
    request, files = request_of(alas(), "gamma_phonons", **how)
    recipe = EspressoEngine().recipe(request, files, {})
    place = tmp_path / "again"
    (place / "pseudo").mkdir(parents=True)
    for name, text in recipe.texts.items():
        (place / name).write_text(text)
    for role, name in recipe.files.items():
        shutil.copy(files[role], place / name)
    command = ["sh", "-ec", recipe.command]
    done = subprocess.run(command, cwd=place, check=True, timeout=60, capture_output=True, text=True)
    again = [float(each) for each in re.findall(r"= +(\S+) \[THz\]", done.stdout)]
    assert run["frequencies"] == pytest.approx(again, abs=2e-4)
