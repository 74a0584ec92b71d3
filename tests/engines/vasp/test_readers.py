"""What VASP writes is read as it grows, wherever it ends; on synthetic text, so that every clone can test it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from ase import units
from hypothesis import given, settings
from hypothesis import strategies as st

from nanoos_lab.engines.vasp import console, outcar, vasprun
from nanoos_lab.engines.vasp.console import Scf
from nanoos_lab.engines.vasp.outcar import Step
from nanoos_lab.engines.vasp.tail import Tail
from tests.engines.vasp.synthetic import Run


def steps_of(text: str) -> list[Step]:
    return [each for each in outcar.read(text.splitlines(keepends=True)) if isinstance(each, Step)]


def test_an_outcar_has_its_steps() -> None:
    run = Run(species=["In", "As"], counts=[1, 2], spin=True)
    reader = outcar.Reader()
    found = list(outcar.read(run.outcar().splitlines(keepends=True), reader))
    steps = [each for each in found if isinstance(each, Step)]
    assert [step.number for step in steps] == [1, 2, 3]
    assert [each.number for each in found if isinstance(each, Scf)] == [1, 2, 3, 4] * 3
    for index, step in enumerate(steps):
        assert step.free_energy == run.free_energy(index)
        assert step.energy == pytest.approx(run.free_energy(index) + 0.001, abs=1e-12)
        assert step.energy_without_entropy == pytest.approx(run.free_energy(index) + 0.002, abs=1e-12)
        np.testing.assert_array_equal(step.positions, run.positions(index))
        np.testing.assert_array_equal(step.forces, run.forces(index))
        np.testing.assert_array_equal(step.cell, run.cell)
        assert step.fermi_level == 1.5 + index
        assert step.magnetization == (1.5,)
        assert (step.scf_iterations, step.scf_converged) == (4, True)
    facts = reader.facts
    assert facts.finished
    assert not facts.accurate
    assert (facts.atoms, facts.bands) == (3, 8)
    assert facts.version == "6.2.0"


def test_the_stress_has_ases_sign_unit_and_order() -> None:
    """VASP: kB, positive if the cell wants to grow; xx, yy, zz, xy, yz, zx."""
    step = steps_of(Run().outcar())[0]
    assert step.stress is not None
    np.testing.assert_allclose(step.stress / (-0.1 * units.GPa), [10, 20, 30, 5, -6, 4], rtol=1e-12)


def test_molecular_dynamics_has_temperature_and_kinetic_energy() -> None:
    run = Run(md=True)
    step = steps_of(run.outcar())[1]
    assert (step.temperature, step.kinetic_energy) == (run.temperature(1), run.kinetic_energy(1))
    assert step.kinetic_stress is not None
    np.testing.assert_allclose(step.kinetic_stress[0] / (-0.1 * units.GPa), 12)


def test_steps_by_a_force_field_that_is_learnt_are_told_from_those_by_the_electrons() -> None:
    """By hand it was tried on an output of VASP 6.3 that dpdata publishes, too, with four and six of them."""
    run = Run(md=True, steps=5)
    text = run.learnt(1, 2, 4)
    steps = steps_of(text)
    assert [step.number for step in steps] == [1, 2, 3, 4, 5]
    assert [step.scf_iterations for step in steps] == [4, 0, 0, 4, 0]
    for index, step in enumerate(steps):
        predicted = index in (1, 2, 4)
        np.testing.assert_array_equal(step.positions, run.positions(index))
        np.testing.assert_array_equal(step.forces, run.forces(index) + 0.5 * predicted)
        assert step.free_energy == run.free_energy(index) + 0.25 * predicted
        assert step.stress is not None
        assert step.stress[0] / (-0.1 * units.GPa) == pytest.approx(run.kbar(index)[0] + 7 * predicted)
        assert (step.temperature, step.scf_converged) == (run.temperature(index), True)
    for cut in range(0, len(text), 11):
        found = steps_of(text[:cut])
        assert [step.free_energy for step in found] == [step.free_energy for step in steps[: len(found)]]
        for one, other in zip(found, steps, strict=False):
            np.testing.assert_array_equal(one.forces, other.forces)
            np.testing.assert_array_equal(one.positions, other.positions)


def test_numbers_of_atoms_and_bands_are_those_that_come_first() -> None:
    """VASP 6.3 prints the table again, with other numbers, for structures of many species."""
    run = Run(species=["In", "As"], counts=[1, 2])
    head = "\n".join(run.head())
    again = "   number of dos  NEDOS =   3   number of ions     NIONS =   7\n   k-points  NKPTS = 1  NBANDS=   1\n"
    reader = outcar.Reader()
    found = list(outcar.read(run.outcar().replace(head, head + "\n" + again, 1).splitlines(keepends=True), reader))
    assert sum(isinstance(each, Step) for each in found) == 3
    assert (reader.facts.atoms, reader.facts.bands) == (3, 8)


def test_an_scf_cycle_that_ran_out_of_iterations_has_not_converged() -> None:
    assert not steps_of(Run(iterations=4, nelm=4, change=1e-2).outcar())[0].scf_converged
    # Unless its last one was good enough: older versions say then that EDIFF is reached.
    text = Run(iterations=4, nelm=4, change=1e-8).outcar()
    assert not steps_of(text)[0].scf_converged
    assert steps_of(text.replace("EDIFF was not reached (unconverged)", "because EDIFF is reached"))[0].scf_converged


@pytest.mark.parametrize("echo", ["EDIFF = 1.E-06", "EDIFF = 1e-6 ! eV", "EDIFF = 1.D-06", "EDIFF = small"])
def test_what_an_incar_says_of_convergence_is_read_as_fortran_does(echo: str) -> None:
    """VASP 6 repeats the INCAR at the beginning of the OUTCAR."""
    text = Run(iterations=4, nelm=4, change=1e-2).outcar().replace(" (unconverged)", "")
    text = text.replace("EDIFF was not reached", "because EDIFF is reached")
    reader = outcar.Reader()
    (*_, last) = outcar.read(f" vasp.6.3.2 27Jun22\n INCAR:\n   {echo}\n{text}".splitlines(keepends=True), reader)
    assert isinstance(last, Step)
    assert not last.scf_converged
    assert reader.facts.settings["EDIFF"] == 1e-6


def test_moments_of_the_atoms_are_those_of_the_last_table() -> None:
    reader = outcar.Reader()
    table = (
        " magnetization (x)\n\n# of ion       s       p       d       tot\n----------\n"
        "    1        0.1   0.2   0.3   {0}\n    2        0.1   0.2   0.3   -1.25\n----------\ntot   1 1 1 1\n"
    )
    text = Run(spin=True).outcar() + table.format(2.5) + table.format(2.75)
    list(outcar.read(text.splitlines(keepends=True), reader))
    np.testing.assert_array_equal(reader.facts.magmoms, [2.75, -1.25])


def test_moments_without_a_common_axis_have_three_components() -> None:
    reader = outcar.Reader()
    tables = "".join(
        f" magnetization ({axis})\n\n# of ion  s p d tot\n---\n 1 0.0 0.0 0.0 {value}\n 2 0.0 0.0 0.0 {-value}\n---\n"
        for axis, value in (("x", 0.1), ("y", 0.2), ("z", 0.3))
    )
    list(outcar.read((Run().outcar() + tables).splitlines(keepends=True), reader))
    np.testing.assert_array_equal(reader.facts.magmoms, [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]])


def test_wherever_an_outcar_ends_moments_have_all_components_or_none() -> None:
    made = Run(vectors=True, iterations=2)
    lines = made.outcar().splitlines(keepends=True)
    seen: list[int] = []
    reader = outcar.Reader()
    for line in lines:
        reader.feed(line)
        if (found := reader.facts.magmoms) is not None:
            (step,) = [step for step in range(3) if np.array_equal(found, made.moments(step))]
            seen.append(step)
    assert sorted(set(seen)) == [0, 1, 2]
    (*_, last) = steps_of(made.outcar())
    assert last.magnetization == pytest.approx(made.moments(2).sum(axis=0))


def test_wherever_an_outcar_ends_its_steps_so_far_are_right() -> None:
    text = Run(md=True, spin=True, iterations=2).outcar()
    whole = steps_of(text)
    for cut in range(0, len(text), 5):
        found = steps_of(text[:cut])
        assert len(found) <= len(whole)
        for one, other in zip(found, whole, strict=False):
            assert one.free_energy == other.free_energy
            np.testing.assert_array_equal(one.forces, other.forces)
            np.testing.assert_array_equal(one.positions, other.positions)


@pytest.mark.parametrize("name", ["NELM   ", "NIONS", "NBANDS", "EDIFF  "])
def test_stars_instead_of_a_number_break_no_reader(name: str) -> None:
    before, _, after = Run(steps=1).outcar().partition(f"{name}=")
    assert len(steps_of(f"{before}{name}= ******{after}")) == 1


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200), st.integers(0, 4000))
@settings(max_examples=60, deadline=None)
def test_no_text_breaks_a_reader(noise: str, place: int) -> None:
    text = Run(steps=1).outcar()
    broken = text[:place] + noise + text[place:]
    for step in steps_of(broken):
        assert step.positions.shape == step.forces.shape
    for line in broken.splitlines():
        console.scf(line)
    reader = vasprun.Reader()
    xml = Run(steps=1).xml()
    reader.feed((xml[:place] + noise + xml[place:]).encode())


def test_memory_does_not_grow_with_the_file() -> None:
    """20 MB here; a gigabyte is read by the benchmark `large_files`."""
    run = Run(steps=1, iterations=8)
    head, body = [f"{line}\n" for line in run.head()], run.outcar()
    body = body[body.index("-" * 39 + " Iteration") : body.index(" General timing")]
    lines = [*body.splitlines(keepends=True), *["      1      -6.5288      2.00000\n"] * 4000]

    def endless(megabytes: int):
        yield from head
        size = sum(map(len, lines))
        for step in range(1, megabytes * 1_000_000 // size + 1):
            number = f"Iteration {step:6d}("
            yield from (line.replace("Iteration      1(", number) for line in lines)

    def most(megabytes: int) -> tuple[int, int]:
        tracemalloc.start()
        steps = sum(isinstance(each, Step) for each in outcar.read(endless(megabytes)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return steps, peak

    few, small = most(2)
    many, large = most(20)
    assert many > 9 * few > 9
    assert large < small + 100_000


def test_a_vasprun_forgets_the_steps_that_it_has_given() -> None:
    text = Run(steps=400).xml().encode()
    tracemalloc.start()
    reader = vasprun.Reader()
    count = sum(len(reader.feed(text[at : at + 4096])) for at in range(0, len(text), 4096))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 400
    assert peak < len(text)


@pytest.mark.parametrize("name", ["projected", "partial"])
def test_tables_by_atom_in_a_vasprun_take_no_memory(name: str, tmp_path) -> None:
    """24 MB, which were 64 MB in memory."""
    table = "<r>  0.0000  0.1000  0.0000  0.2000  0.0000  0.0000  0.3000  0.0000  0.0000 </r>\n" * 300
    before, _, after = Run(steps=1).xml().partition(" </calculation>")
    path = tmp_path / "vasprun.xml"
    with path.open("w") as file:
        file.write(before + f"  <dos><{name}><array><set>\n")
        for ion in range(1000):
            file.write(f'<set comment="ion {ion}">\n{table}</set>\n')
        file.write(f"</set></array></{name}></dos>\n </calculation>" + after)
    assert path.stat().st_size > 24_000_000
    tracemalloc.start()
    reader = vasprun.Reader()
    (step,) = vasprun.read(path, reader)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert step.free_energy == Run().free_energy(0)
    assert peak < 2_000_000


def test_a_vasprun_has_its_steps() -> None:
    run = Run(species=["In", "As"], counts=[1, 2])
    reader = vasprun.Reader()
    found = reader.feed(run.xml().encode())
    for index, step in enumerate(found):
        assert step.free_energy == run.free_energy(index)
        assert step.energy == pytest.approx(run.free_energy(index) + 0.001, abs=1e-12)
        np.testing.assert_allclose(step.scaled @ step.cell, run.positions(index), atol=1e-7)
        assert step.forces is not None
        np.testing.assert_array_equal(step.forces, run.forces(index))
        assert step.stress is not None
        np.testing.assert_allclose(step.stress / (-0.1 * units.GPa), [10 + index, 20, 30, 5, -6, 4], rtol=1e-12)


def test_wherever_a_vasprun_ends_its_steps_so_far_are_right() -> None:
    text = Run(steps=2).xml().encode()
    ends = [at + len(b"</calculation>") for at in range(len(text)) if text.startswith(b"</calculation>", at)]
    for cut in range(0, len(text) + 1, 7):
        reader = vasprun.Reader()
        assert len(reader.feed(text[:cut])) == sum(end <= cut for end in ends)


@pytest.mark.parametrize("hole", ["", "  1.0  1.0  1.0 ", "broken"])
def test_levels_with_holes_in_them_take_no_step_away(hole: str) -> None:
    points = np.array([[0.0, 0, 0], [0.5, 0, 0]])
    text = Run(steps=2, kpoints=points).xml()
    at = text.index("<r>")
    reader = vasprun.Reader()
    steps = reader.feed((text[: at + 3] + hole + text[text.index("</r>", at) :]).encode())
    assert [step.free_energy for step in steps] == [Run().free_energy(0), Run().free_energy(1)]
    # Those of the last step, which are whole.
    np.testing.assert_array_equal(reader.contents.electrons.eigenvalues, Run(kpoints=points).levels()[None])


def test_numbers_that_were_too_long_for_vasp_are_none() -> None:
    text = Run(steps=1, kpoints=np.zeros((1, 3))).xml()
    at = text.index("<r>") + 3
    reader = vasprun.Reader()
    (step,) = reader.feed((text[:at] + " ********* " + text[at + 11 :]).encode())
    assert step.free_energy == Run().free_energy(0)
    assert reader.contents.electrons.eigenvalues is not None
    assert np.isnan(reader.contents.electrons.eigenvalues[0, 0, 0])


def test_a_growing_file_is_read_by_whole_lines(tmp_path) -> None:
    path = tmp_path / "OUTCAR"
    tail = Tail(path)
    assert list(tail.lines()) == []
    text = Run(steps=1).outcar()
    seen = []
    with path.open("w") as file:
        for at in range(0, len(text), 37):
            file.write(text[at : at + 37])
            file.flush()
            seen += tail.lines()
    assert "".join(seen) == text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "DAV:   1     0.642208910419E+01    0.64221E+01   -0.25532E+03  2056   0.521E+02",
            Scf(algorithm="DAV", number=1, energy=6.42208910419, change=6.4221, band_change=-255.32),
        ),
        (
            "RMM:  12    -0.650214658356E+01    0.70014E-06   -0.13346E-06  1484   0.755E-03",
            Scf(algorithm="RMM", number=12, energy=-6.50214658356, change=7.0014e-7, band_change=-1.3346e-7),
        ),
        ("DAV:   1     0.6422", None),
        ("       N       E                     dE             d eps       ncg     rms          rms(c)", None),
        (" entering main loop", None),
    ],
)
def test_a_line_about_an_iteration(line: str, expected: Scf | None) -> None:
    assert console.scf(line) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (" running on    4 total cores", 4),
        (" running    8 mpi-ranks, with    1 threads/rank, on    1 nodes", 8),
        (" distrk:  each k-point on    4 cores,    1 groups", None),
    ],
)
def test_the_number_of_ranks_that_vasp_says(line: str, expected: int | None) -> None:
    assert console.ranks(line) == expected
