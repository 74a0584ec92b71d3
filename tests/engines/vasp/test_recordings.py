"""The readers agree with ASE's on what VASP has really written, to the last digit, and wherever it is cut off."""

from __future__ import annotations

import io
import warnings

import ase.io
import numpy as np
import pytest

from nanoos_lab.engines.vasp import console, outcar, vasprun
from nanoos_lab.engines.vasp.outcar import Step
from tests.engines.vasp.recordings import OUTCARS, XMLS, recording

#: Places at which each recording is cut off.
CUTS = 60


def read_outcar(text: str) -> tuple[list[Step], outcar.Facts]:
    reader = outcar.Reader()
    lines = text.splitlines(keepends=True)
    return [each for each in outcar.read(lines, reader) if isinstance(each, Step)], reader.facts


def text_of(name: str, file: str) -> str:
    return (recording(name) / file).read_text(errors="replace")


@pytest.mark.parametrize("name", [name for name, steps in OUTCARS.items() if steps])
def test_an_outcar_agrees_with_ase(name: str) -> None:
    steps, facts = read_outcar(text_of(name, "OUTCAR"))
    expected = ase.io.read(recording(name) / "OUTCAR", ":", format="vasp-out")
    assert len(steps) == len(expected) == OUTCARS[name]
    for step, atoms in zip(steps, expected, strict=True):
        known = atoms.calc.results
        assert (step.energy, step.free_energy) == (known["energy"], known["free_energy"])
        np.testing.assert_array_equal(step.forces, known["forces"])
        np.testing.assert_array_equal(step.positions, atoms.positions)
        np.testing.assert_array_equal(step.cell, atoms.cell.array)
        np.testing.assert_allclose(step.stress, known["stress"], rtol=0, atol=1e-12)
        if "magmom" in known:
            assert step.magnetization == (known["magmom"],)
    if "magmoms" in expected[-1].calc.results:
        np.testing.assert_array_equal(facts.magmoms, expected[-1].calc.results["magmoms"])
    assert facts.finished


@pytest.mark.parametrize("name", list(XMLS))
def test_a_vasprun_agrees_with_ase(name: str) -> None:
    reader = vasprun.Reader()
    steps = list(vasprun.read(recording(name) / "vasprun.xml", reader))
    assert len(steps) == XMLS[name]
    if not steps:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = ase.io.read(recording(name) / "vasprun.xml", ":", format="vasp-xml")
    for step, atoms in zip(steps, expected, strict=True):
        known = atoms.calc.results
        assert (step.energy, step.free_energy) == (known["energy"], known["free_energy"])
        np.testing.assert_allclose(step.scaled @ step.cell, atoms.positions, rtol=0, atol=1e-12)
        if step.forces is not None:
            np.testing.assert_array_equal(step.forces, known["forces"])
        if step.stress is not None:
            np.testing.assert_allclose(step.stress, known["stress"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [name for name, steps in XMLS.items() if steps and name != "relax-truncated"])
def test_bands_and_fermi_level_agree_with_ase(name: str) -> None:
    reader = vasprun.Reader()
    list(vasprun.read(recording(name) / "vasprun.xml", reader))
    electrons, contents = reader.contents.electrons, reader.contents
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = ase.io.read(recording(name) / "vasprun.xml", format="vasp-xml").calc
    assert electrons.fermi_level == known.get_fermi_level()
    assert electrons.eigenvalues is not None
    assert electrons.occupations is not None
    np.testing.assert_array_equal(contents.kpoints, known.get_ibz_k_points())
    np.testing.assert_array_equal(contents.weights, known.get_k_point_weights())
    assert electrons.eigenvalues.shape[0] == known.get_number_of_spins()
    # ASE counts electrons, VASP how full a state is.
    electrons_per_state = 2 / len(electrons.occupations)
    for spin, point in np.ndindex(electrons.eigenvalues.shape[:2]):
        np.testing.assert_array_equal(electrons.eigenvalues[spin, point], known.get_eigenvalues(point, spin))
        counted = electrons_per_state * electrons.occupations[spin, point]
        np.testing.assert_array_equal(counted, known.get_occupation_numbers(point, spin))


@pytest.mark.parametrize("name", ["basic_run", "spin"])
def test_the_density_of_states_counts_the_electrons(name: str) -> None:
    """Its integral at the Fermi level is the number of electrons, and its own sum is its integral."""
    reader = vasprun.Reader()
    list(vasprun.read(recording(name) / "vasprun.xml", reader))
    electrons, contents = reader.contents.electrons, reader.contents
    assert electrons.dos is not None
    assert electrons.dos_energies is not None
    assert electrons.dos_integral is not None
    assert electrons.fermi_level is not None
    assert electrons.occupations is not None
    per_state = 2 / len(electrons.occupations)
    count = per_state * float(np.einsum("skb,k->", electrons.occupations, contents.weights))
    at_fermi = [np.interp(electrons.fermi_level, electrons.dos_energies, each) for each in electrons.dos_integral]
    assert sum(at_fermi) == pytest.approx(count, abs=0.35)
    width = electrons.dos_energies[1] - electrons.dos_energies[0]
    np.testing.assert_allclose(electrons.dos.sum(axis=1) * width, electrons.dos_integral[:, -1], rtol=0.02)


def test_the_density_of_states_is_that_of_the_doscar() -> None:
    reader = vasprun.Reader()
    list(vasprun.read(recording("basic_run") / "vasprun.xml", reader))
    electrons = reader.contents.electrons
    lines = text_of("basic_run", "DOSCAR").splitlines()[6 : 6 + 301]
    table = np.array([[float(word) for word in line.split()] for line in lines])
    assert electrons.dos is not None
    assert electrons.dos_integral is not None
    np.testing.assert_allclose(electrons.dos_energies, table[:, 0], atol=5e-3)
    np.testing.assert_allclose(electrons.dos[0], table[:, 1], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(electrons.dos_integral[0], table[:, 2], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", [name for name in OUTCARS if name != "magnetization_single" and "bands" not in name])
def test_standard_output_and_outcar_tell_the_same_story(name: str) -> None:
    steps, _ = read_outcar(text_of(name, "OUTCAR"))
    lines = text_of(name, "vasp_output").splitlines()
    said = [line.split() for line in lines if "F=" in line and "E0=" in line]
    assert [int(words[0]) for words in said] == [step.number for step in steps]
    for words, step in zip(said, steps, strict=True):
        # Eight digits there, eight decimals here.
        assert float(words[words.index("F=") + 1]) == pytest.approx(step.free_energy, rel=1e-7)
        assert float(words[words.index("E0=") + 1]) == pytest.approx(step.energy, rel=1e-7)
    iterations = [found for line in lines if (found := console.scf(line))]
    found = [each for each in outcar.read(io.StringIO(text_of(name, "OUTCAR"))) if isinstance(each, console.Scf)]
    for one, other in zip(iterations, found, strict=False):
        assert one.number == other.number
        assert one.energy == pytest.approx(other.energy, abs=6e-9)
        assert one.change == pytest.approx(other.change, rel=1e-3, abs=1e-12)
    assert abs(len(iterations) - len(found)) <= 1
    assert next(filter(None, map(console.ranks, lines))) in (1, 4, 24)


@pytest.mark.parametrize("name", list(OUTCARS))
def test_an_outcar_that_is_cut_off_has_the_steps_so_far(name: str) -> None:
    text = text_of(name, "OUTCAR")
    whole, _ = read_outcar(text)
    counts = []
    for cut in np.linspace(0, len(text), CUTS).astype(int) - 7:
        found, facts = read_outcar(text[: max(cut, 0)])
        counts.append(len(found))
        assert facts.steps == len(found)
        for one, other in zip(found, whole, strict=False):
            assert (one.free_energy, one.energy) == (other.free_energy, other.energy)
            np.testing.assert_array_equal(one.forces, other.forces)
            np.testing.assert_array_equal(one.positions, other.positions)
            np.testing.assert_array_equal(one.stress, other.stress)
    assert counts == sorted(counts)
    assert counts[-1] == len(whole)


@pytest.mark.parametrize("name", list(XMLS))
def test_a_vasprun_that_is_cut_off_has_the_steps_so_far(name: str) -> None:
    data = (recording(name) / "vasprun.xml").read_bytes()
    whole = vasprun.Reader().feed(data)
    ends = [at for at in range(len(data)) if data.startswith(b"</calculation>", at)]
    places = np.linspace(0, len(data), 20).astype(int).tolist() + [end + extra for end in ends[:3] for extra in (0, 14)]
    for cut in places:
        found = vasprun.Reader().feed(data[:cut])
        assert len(found) == sum(end + 14 <= cut for end in ends)
        for one, other in zip(found, whole, strict=False):
            assert (one.free_energy, one.energy) == (other.free_energy, other.energy)
            np.testing.assert_array_equal(one.scaled, other.scaled)
