"""Bands and densities of states, from pw.x and dos.x."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk, molecule

from nanoos_lab.core.errors import EngineError, ParameterError, StructureError
from nanoos_lab.core.units import unit_of
from nanoos_lab.engines.espresso import EspressoEngine, schema, states
from tests.engines.espresso.running import SILICON, request_of, silicon

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engines.espresso.running import Runner

LDA: dict[str, Any] = {"pseudos": SILICON["pseudos"], "ecutwfc": 16, "kpts": (4, 4, 4)}


def test_silicon_has_an_indirect_gap_near_x(pw: Runner) -> None:
    run = pw(silicon(lattice=5.43), "bands", **LDA, path="LGX", points=31)
    levels = run["eigenvalues"][0]
    assert levels.shape == (31, 8)
    assert run["special_labels"] == "L,G,X"
    gamma = int(np.argmin(np.abs(run["distances"] - run["special_distances"][1])))
    assert run["kpoints"][gamma] == pytest.approx([0, 0, 0], abs=1e-9)
    # At Γ the valence band has its top, threefold; the lowest empty level lies at 85 % of the way to X.
    top = levels[gamma, 3]
    assert levels[gamma, 1:4] == pytest.approx([top] * 3, abs=1e-3)
    assert levels[:, 3].max() == pytest.approx(top, abs=1e-3)
    lowest = int(np.argmin(levels[:, 4]))
    way = (run["distances"][lowest] - run["special_distances"][1]) / np.ptp(run["special_distances"][1:])
    assert way == pytest.approx(0.85, abs=0.06)
    # LDA: 0.52 eV at converged cut-offs (M. S. Hybertsen, S. G. Louie, Phys. Rev. B 34, 5390 (1986)).
    assert run["band_gap"] == pytest.approx(0.52, abs=0.1)
    assert run["band_gap"] == pytest.approx(levels[lowest, 4] - top, abs=1e-3)
    # The valence band is 12 eV wide.
    assert top - levels[gamma, 0] == pytest.approx(12.0, abs=0.3)
    assert run.context.steps[-1] == run["scf_iterations"]


def test_the_states_of_silicon_are_counted(pw: Runner) -> None:
    run = pw(silicon(lattice=5.43), "dos", **LDA, dos_kpts=(6, 6, 6))
    energies, states = run["dos_energies"], run["dos"][0]
    assert run["dos"].shape == (1, len(energies))
    at = int(np.argmin(np.abs(energies - run["fermi_level"])))
    assert states[at] == pytest.approx(0, abs=1e-3)
    # Eight electrons below the gap, which is no wider than 0.5 eV; interpolation between k-points makes it narrower.
    assert run["dos_integral"][at] == pytest.approx(8, abs=0.01)
    assert np.trapezoid(states[:at], energies[:at]) == pytest.approx(8, abs=0.1)
    empty = energies[(states < 1e-3) & (np.abs(run["dos_integral"] - 8) < 0.01)]
    assert 0.2 < np.ptp(empty) < 0.55


def test_a_metal_has_no_gap_and_states_at_its_fermi_level(pw: Runner) -> None:
    how = {"pseudos": {"Al": "Al.pz-vbc.UPF"}, "ecutwfc": 12, "kpts": (4, 4, 4), "smearing": "gaussian"}
    bands = pw(bulk("Al", a=4.0), "bands", **how, points=20)
    assert "band_gap" not in bands.results.properties
    run = pw(bulk("Al", a=4.0), "dos", **how, width=0.3, resolution=0.1)
    at = int(np.argmin(np.abs(run["dos_energies"] - run["fermi_level"])))
    assert run["dos"][0, at] == pytest.approx(0.4, abs=0.15)
    assert run["dos_integral"][at] == pytest.approx(3, abs=0.2)
    assert np.diff(run["dos_energies"]) == pytest.approx(0.1, abs=1e-3)


def test_spins_have_states_of_their_own(pw: Runner) -> None:
    iron = bulk("Fe", a=2.87)
    iron.set_initial_magnetic_moments([3.0])
    how = {"pseudos": {"Fe": "Fe.pz-nd-rrkjus.UPF"}, "ecutwfc": 20, "ecutrho": 160, "kpts": (2, 2, 2)}
    run = pw(iron, "dos", **how, smearing="gaussian", dos_kpts=(3, 3, 3))
    assert run["dos"].shape == (2, len(run["dos_energies"]))
    assert not np.allclose(run["dos"][0], run["dos"][1])


def test_a_fixed_moment_has_a_fermi_level_for_each_spin(pw: Runner) -> None:
    atoms = silicon()
    atoms.set_initial_magnetic_moments([1.0, 1.0])
    how = {**SILICON, "smearing": "gaussian", "input": {"system": {"tot_magnetization": 2}}}
    run = pw(atoms, "dos", **how, dos_kpts=(3, 3, 3), width=0.3)
    up, down = run["fermi_levels"]
    assert up > down + 0.5
    assert unit_of("fermi_levels") == "eV"
    assert "fermi_level" not in run.results.properties
    # Five electrons of eight are up.
    energies, states = run["dos_energies"], run["dos"]
    assert np.trapezoid(np.where(energies < up, states[0], 0), energies) == pytest.approx(5, abs=0.3)
    assert np.trapezoid(np.where(energies < down, states[1], 0), energies) == pytest.approx(3, abs=0.3)


def test_without_dosx_no_work_is_done(pw: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANOOS_DOS_X", "no/such/dos.x")
    context = pw.context()
    with pytest.raises(EngineError, match="NANOOS_DOS_X"):
        pw(silicon(), "dos", context, **SILICON)
    assert not (context.workdir / "espresso.out").exists()


def test_what_has_no_bands_is_refused() -> None:
    h2 = molecule("H2")
    h2.center(vacuum=2)
    with pytest.raises(StructureError, match="no bands"):
        request_of(h2, "bands", pseudos={"H": "H.pz-vbc.UPF"}, ecutwfc=20)
    with pytest.raises(ParameterError, match=r"path='LGY'.*special points of the lattice, G, K, L"):
        request_of(silicon(), "bands", **LDA, path="LGY")
    with pytest.raises(ParameterError, match="dos_kspacing"):
        request_of(silicon(), "dos", **LDA, dos_kpts=(2, 2, 2), dos_kspacing=0.1)


@pytest.mark.parametrize(("task", "more"), [("bands", {"points": 12}), ("dos", {"dos_kpts": (3, 3, 3), "width": 0.3})])
def test_the_programs_alone_give_the_same_numbers(pw: Runner, tmp_path: Path, task: str, more: dict[str, Any]) -> None:
    run = pw(silicon(), task, **SILICON, **more)
    request, files = request_of(silicon(), task, **SILICON, **more)
    recipe = EspressoEngine().recipe(request, files, {})
    place = tmp_path / "again"
    (place / "pseudo").mkdir(parents=True)
    for name, text in recipe.texts.items():
        (place / name).write_text(text)
    for role, name in recipe.files.items():
        shutil.copy(files[role], place / name)
    subprocess.run(["sh", "-ec", recipe.command], cwd=place, check=True, timeout=60)
    if task == "bands":
        again = schema.read(place / "out" / "pwscf.save" / "data-file-schema.xml")
        assert again["eigenvalues"] == pytest.approx(run["eigenvalues"], abs=1e-6)
    else:
        assert states.read_dos(place / states.DOS_TABLE)[:, 1] == pytest.approx(run["dos"][0], abs=1e-6)
