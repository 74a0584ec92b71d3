"""Magnetic moments of atoms: from the structure into pw.x's input, and from what pw.x prints to the user's atoms."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms

from nanoos_lab.engines.espresso import EspressoEngine
from nanoos_lab.engines.espresso.output import Cycle, Reader
from tests.engines.espresso.running import request_of

if TYPE_CHECKING:
    from tests.engines.espresso.running import Run, Runner

HYDROGEN: dict[str, Any] = {"pseudos": {"H": "H.pz-vbc.UPF"}, "ecutwfc": 16, "kpts": (1, 1, 2)}
HYDROGEN |= {"smearing": "gaussian", "degauss": 0.005}


def chain(moments: Any, *, shift: float = 0.0) -> Atoms:
    """Return hydrogen atoms in a row, so far from each other that each keeps its electron and its spin."""
    atoms = Atoms("H2", positions=[[0, 0, 0], [shift, 0, 2.5]], cell=[4.0, 4.0, 5.0], pbc=True)
    atoms.set_initial_magnetic_moments(moments)
    return atoms


def said(run: Run) -> list[float]:
    """Return the moments that pw.x has printed last for two atoms."""
    text = (run.context.workdir / "espresso.out").read_text()
    return [float(word) for word in re.findall(r"magn: +(\S+)", text)[-2:]]


def test_atoms_of_one_element_with_opposite_spins_end_as_an_antiferromagnet(pw: Runner) -> None:
    run = pw(chain([1, -1]), "static", **HYDROGEN)
    moments = run["magmoms"]
    assert moments.tolist() == said(run)
    assert moments[0] > 0.3
    assert moments[1] == pytest.approx(-moments[0], abs=1e-3)
    assert run["magmom"] == pytest.approx(0, abs=1e-3)
    assert run["absolute_magnetization"] > 1
    # Each cell of the reverse order is another.
    assert pw(chain([-1, 1]), "static", **HYDROGEN)["magmoms"] == pytest.approx(-moments, abs=1e-3)
    assert run["energy"] < pw(chain([1, 1]), "static", **HYDROGEN)["energy"] - 0.01
    without = pw(chain([0, 0]), "static", **HYDROGEN)
    assert run["energy"] < without["energy"] - 0.1
    assert "magmoms" not in without.results.properties


def test_moments_that_are_vectors_come_back_as_vectors(pw: Runner) -> None:
    along_z = pw(chain([1, -1]), "static", **HYDROGEN)
    along_x = pw(chain([[1, 0, 0], [-1, 0, 0]]), "static", **HYDROGEN)
    expected = np.outer(along_z["magmoms"], [1, 0, 0])
    assert along_x["magmoms"] == pytest.approx(expected, abs=5e-3)
    assert along_x["energy"] == pytest.approx(along_z["energy"], abs=1e-4)
    silent = pw(chain([[1, 0, 0], [-1, 0, 0]]), "static", **HYDROGEN, input={"system": {"report": 0}})
    assert "magmoms" not in silent.results.properties


@pytest.mark.parametrize(("task", "how"), [("relax", {"fmax": 0.05}), ("md", {"steps": 2, "temperature": 300})])
def test_atoms_that_move_keep_their_names_and_the_moments_are_the_last(
    pw: Runner, task: str, how: dict[str, Any]
) -> None:
    run = pw(chain([1, -1], shift=0.4), task, **HYDROGEN, **how)
    _, cycles = run.printed
    assert len(cycles) > 1
    assert run["magmoms"].tolist() == said(run)
    first = cycles[0].moments
    assert first is not None
    assert run["magmoms"] != pytest.approx(first, abs=1e-4)
    final = run.results.structure.atoms()
    assert final.get_chemical_symbols() == ["H", "H"]
    assert final.get_initial_magnetic_moments().tolist() == [1, -1]
    assert final.positions == pytest.approx(run.context.samples[-1].frame.positions, abs=1e-6)


def test_the_input_that_reproduces_it_has_both_kinds() -> None:
    request, files = request_of(chain([1, -1]), "static", **HYDROGEN)
    recipe = EspressoEngine().recipe(request, files, {})
    lines = recipe.texts["espresso.in"].splitlines()
    at = lines.index("ATOMIC_SPECIES")
    assert [line.split()[::2] for line in lines[at + 1 : at + 3]] == [["H", "H.upf"], ["H1", "H.upf"]]
    assert [line.split()[0] for line in lines[-2:]] == ["H", "H1"]
    assert set(recipe.files.values()) == {"pseudo/H.upf"}


def test_a_newer_pwx_prints_them_in_another_form() -> None:
    """Lines written after the formats in report_mag.f90 of pw.x 6.8 and later, with numbers that are made up."""
    lines = [
        "     iteration #  9     ecut=    16.00 Ry     beta= 0.70",
        "     Magnetic moment per site  (integrated on atomic sphere of radius R)",
        "     atom   1 (R=0.357)  charge=  0.4211  magn=  0.3519",
        "     atom   2 (R=0.357)  charge=  0.4211  magn= -0.3518",
        "!    total energy              =      -1.80000000 Ry",
        "     Writing all to output data dir out/pwscf.save/",
    ]
    (cycle,) = [event for event in map(Reader(natoms=2).feed, lines) if isinstance(event, Cycle)]
    assert cycle.moments is not None
    assert cycle.moments.tolist() == [0.3519, -0.3518]
