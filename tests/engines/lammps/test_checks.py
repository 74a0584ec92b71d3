"""What is refused in the user's cell, before a worker is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ase import Atoms
from ase.build import bulk, fcc100

from nanoos_lab.core.errors import InputError, ParameterError, StructureError, UnknownNameError
from tests.engines.lammps.outside import submitted

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engines.lammps.outside import Outcome

    Lammps = Callable[..., Outcome]

COPPER = {"potential": "Cu_u3.eam", "temperature": 600.0, "steps": 10}


def copper(n: int = 2) -> Atoms:
    return bulk("Cu", cubic=True) * (n, n, n)


@pytest.mark.parametrize("pbc", [True, False, (True, False, True)])
def test_overlapping_atoms_are_named(pbc: object) -> None:
    structure = copper()
    structure.positions[5] = structure.positions[17] + [0.05, 0.02, 0]
    structure.pbc = pbc
    with pytest.raises(StructureError, match=r"atoms 5 and 17 overlap: they are 0\.054 Å apart"):
        submitted(structure, "static", potential="Cu_u3.eam")
    submitted(copper(), "static", potential="Cu_u3.eam")


def test_atoms_overlap_across_the_boundary_too() -> None:
    structure = Atoms("Ar2", positions=[(0.05, 3, 3), (9.9, 3, 3)], cell=[10, 10, 10], pbc=True)
    with pytest.raises(StructureError, match="overlap"):
        submitted(structure, "static", potential="lj", epsilon=0.01, sigma=3.4)
    structure.pbc = False
    submitted(structure, "static", potential="lj", epsilon=0.01, sigma=3.4)


def test_a_small_lennard_jones_crystal_is_no_overlap() -> None:
    small = bulk("Ar", "fcc", a=0.16, cubic=True)
    submitted(small, "static", potential="lj", epsilon=0.01, sigma=0.1, cutoff=0.25)
    with pytest.raises(StructureError, match="overlap"):
        submitted(small, "static", potential="lj", epsilon=0.01, sigma=3.4)


def test_a_thin_cell_is_no_harm_to_lammps(lammps: Lammps) -> None:
    """Its cut-off of 5 Å reaches over several images of a cell 2.5 Å wide; the energy is that of a large cell."""
    thin, large = bulk("Cu", a=3.615), bulk("Cu", a=3.615, cubic=True) * (4, 4, 4)
    one, many = (lammps(structure, "static", potential="Cu_u3.eam") for structure in (thin, large))
    assert one["energy"] == pytest.approx(many["energy"] / len(large), rel=1e-10)


@pytest.mark.parametrize(
    ("structure", "near", "repeats"),
    [(bulk("Cu"), "2.55", "(2, 2, 2)"), (fcc100("Cu", (1, 3, 2), vacuum=8.0), "2.55", "(2, 1, 1)")],
    ids=["crystal", "slab"],
)
def test_atoms_that_act_on_their_own_images_are_not_moved_unless_that_is_meant(
    structure: Atoms, near: str, repeats: str
) -> None:
    with pytest.raises(StructureError, match="too thin for molecular dynamics") as caught:
        submitted(structure, "md", **COPPER)
    assert f"an atom is {near} Å from an image of itself, and forces reach up to 4.95 Å" in str(caught.value)
    assert f"atoms.repeat({repeats})" in str(caught.value)
    assert "thin_cell=True" in str(caught.value)
    submitted(structure.repeat([int(word) for word in repeats.strip("()").split(", ")]), "md", **COPPER)
    submitted(structure, "md", **COPPER, thin_cell=True)
    submitted(structure, "relax", potential="Cu_u3.eam")
    structure.pbc = False
    submitted(structure, "md", **COPPER)


def test_a_lennard_jones_crystal_must_be_as_thick_as_its_cutoff() -> None:
    argon = bulk("Ar", cubic=True) * (2, 2, 2)
    given = {"potential": "lj", "epsilon": 0.0104, "sigma": 3.4, "temperature": 30.0, "steps": 1}
    submitted(argon, "md", **given)
    with pytest.raises(StructureError, match=r"10\.52 Å from an image of itself, and forces reach up to 11\.00 Å"):
        submitted(argon, "md", **given, cutoff=11.0)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"thermostat": "langevin"}, "thermostat"),
        ({"barostat": "tri"}, "barostat"),
        ({"ensemble": "nvt", "temperature_end": 0.0}, "temperature_end"),
        ({"ensemble": "npt", "pressure": 0.0, "temperature_end": 0.0}, "temperature_end"),
        ({"ensemble": "npt", "pressure": 0.0, "barostat": "tri", "strain_rate": 0.1}, "barostat"),
    ],
)
def test_what_the_ensemble_does_not_have_is_refused(parameters: dict[str, object], field: str) -> None:
    with pytest.raises(ParameterError) as caught:
        submitted(copper(), "md", **COPPER, **parameters)
    assert caught.value.field == field


def test_a_free_cell_is_for_minimisers_that_can_move_it() -> None:
    with pytest.raises(ParameterError, match="'cg' or 'sd'"):
        submitted(copper(), "relax", potential="Cu_u3.eam", cell="free", optimizer="fire")


def test_a_strain_needs_an_orthogonal_cell() -> None:
    with pytest.raises(StructureError, match="orthogonal"):
        submitted(bulk("Cu") * (3, 3, 3), "md", **COPPER, strain_rate=0.1)
    turned = copper()
    turned.rotate(30, (1, 2, 3), rotate_cell=True)
    submitted(turned, "md", **COPPER, strain_rate=0.1)


@pytest.mark.parametrize(
    ("commands", "columns", "why"),
    [
        (["compte msd all msd"], [], r"number 1: unknown command before a run 'compte'. Did you mean 'compute'"),
        (["shell ls"], [], "unknown command"),
        (["run 5"], [], "unknown command"),
        (["compute a all msd\nshell ls"], [], "one command"),
        (["compute a all msd &"], [], "one command"),
        (["compute a all msd # more & "], [], "one command"),
        (["variable nanoos_stop equal 5"], [], "name of this engine's own"),
        (["fix integrate all momentum 10 linear 1 1 1"], [], "name of this engine's own"),
        (["group mobile id 1"], [], "name of this engine's own"),
        (["compute virial all pressure NULL virial"], [], "name of this engine's own"),
        (["fix 1 all nve"], [], "a second time"),
        (["fix 1 all nvt temp 300 300 0.1"], [], "a second time"),
        (["fix 1 all rigid/nve single"], [], "a second time"),
        (["compute 1 all temmp"], [], "Did you mean 'temp'"),
        (["fix 1 all setforse 0 0 0"], [], "Did you mean 'setforce'"),
        (["variable a equal $(step)"], [], "refused"),
        (["fix 1 all python/invoke 1 end_of_step f"], [], "Python"),
        (["fix 1 all ave/time 1 1 1 c_thermo_temp file /tmp/x"], [], "outside of the working directory"),
        (["variable a getenv HOME"], [], "refused"),
        ([], ["presure"], "Did you mean 'press'"),
        (["compute msd all msd"], ["c_mds[4]"], "Did you mean 'c_msd'"),
        ([], ["v_x"], "unknown column 'v_x'"),
        ([], ["pe run 5"], "unknown column"),
    ],
)
def test_own_commands_and_columns_are_checked(commands: list[str], columns: list[str], why: str) -> None:
    with pytest.raises(InputError, match=why):
        submitted(copper(), "md", **COPPER, commands=commands, columns=columns)


def test_an_unknown_style_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        submitted(copper(), "static", potential="Cu_u3.eam", pair_style="ean")
    assert caught.value.nearest == "eam"
    with pytest.raises(UnknownNameError) as caught:
        submitted(copper(), "static", potential="Cu_u3.eam", epsilom=3)
    assert caught.value.nearest == "epsilon"


def test_a_reaxff_file_is_one_in_real_units(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from nanoos_lab.engines.lammps import library

    folder = library.potentials_folder()
    assert folder
    wrong = tmp_path / "ffield.reax.mine"
    wrong.write_text((folder / "ffield.reax.cho").read_text().replace("UNITS: real", "UNITS: metal"))
    with pytest.raises(ParameterError, match="units 'metal', not 'real'"):
        submitted(Atoms("H2", positions=[(0, 0, 0), (0, 0, 0.74)]), "static", potential=str(wrong))
