"""Which potentials there are, and that none is picked silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ase.build import bulk

import nanoos_lab as nl

if TYPE_CHECKING:
    from nanoos_lab.lab.lab import Lab


def test_potentials_for_elements_are_listed_with_where_they_are_from() -> None:
    found = nl.potentials(["Cu", "Ni"], engine="lammps")
    assert found.index.name == "name"
    row = found.loc["CuNi.eam.alloy"]
    assert (row.kind, row.elements, row.units) == ("eam/alloy", ("Ni", "Cu"), "metal")
    assert row.citation == "Onat and Durukanoglu, J Phys Cond Matt, 26, 035404 (2014)"
    assert all({"Cu", "Ni"} <= set(elements) for elements in found.elements)


def test_one_element_and_a_structure_will_do_too() -> None:
    copper = nl.potentials("Cu", engine="lammps")
    assert {"Cu_u3.eam", "Cu_mishin1.eam.alloy", "Cu.meam", "AlCu.adp"} <= set(copper.index)
    assert copper.equals(nl.potentials(bulk("Cu"), engine="lammps"))
    assert nl.potentials(["C", "H", "O"], engine="lammps").loc["ffield.reax.cho"].units == "real"
    assert len(nl.potentials(["Xe", "Og"], engine="lammps")) == 0


def test_a_file_without_parameters_for_the_combination_is_not_among_them() -> None:
    assert "SiCGe.tersoff" in nl.potentials(["Ge"], engine="lammps").index
    assert "SiCGe.tersoff" not in nl.potentials(["C", "Ge"], engine="lammps").index


def test_methods_of_tight_binding_are_listed_with_their_publications() -> None:
    found = nl.potentials(["C", "H"], engine="tblite")
    assert found.loc["GFN2-xTB"].citation.startswith("C. Bannwarth")
    assert set(found.kind) == {"tight binding"}
    assert len(nl.potentials(["Fr"], engine="tblite")) == 0


def test_pseudopotentials_are_listed_with_where_they_are_from() -> None:
    found = nl.potentials("Si", engine="espresso")
    assert found.loc["Si_r.upf"].citation == "D. R. Hamann, Phys. Rev. B 88, 085117 (2013)"
    assert "author ADC" in found.loc["Si.pbe-nl-rrkjus_psl.1.0.0.UPF"].citation
    # It says nothing.
    assert not found.loc["Si.pz-vbc.UPF"].citation


def test_weights_of_chgnet_are_listed_with_their_publications() -> None:
    found = nl.potentials(["Na", "Pu"], engine="chgnet")
    assert set(found.index) == {"0.3.0", "0.2.0", "r2scan"}
    assert found.loc["0.3.0"].citation.startswith("B. Deng")
    assert found.loc["r2scan"].citation.startswith("X. Huang")
    assert set(found.kind) == {"universal ML potential"}
    assert len(found.elements.iloc[0]) == 94
    assert len(nl.potentials(["Am"], engine="chgnet")) == 0


def test_each_of_the_weights_is_one_that_a_job_can_take() -> None:
    from nanoos_lab.core.parameters import validate
    from nanoos_lab.engines import registry

    engine = registry.get("chgnet")
    for name in nl.potentials("Cu", engine="chgnet").index:
        given = validate(engine.tasks["static"], {"model": name}, where="here")
        assert engine.cited(given)[f"CHGNet {name}"]


def test_unknown_elements_and_engines_are_told() -> None:
    with pytest.raises(nl.InputError, match="unknown element 'Cx'"):
        nl.potentials(["Cx"], engine="lammps")
    with pytest.raises(nl.InputError, match="Did you mean 'lammps'"):
        nl.potentials(["Cu"], engine="lamps")
    with pytest.raises(nl.InputError, match="no potentials to choose from"):
        nl.potentials(["Cu"], engine="mock")


def test_a_missing_choice_raises_with_the_candidates_for_the_structure(lab: Lab) -> None:
    with pytest.raises(nl.InputError, match=r"for Al, Cu there is .*'AlCu.adp', 'AlCu.eam.alloy'.*a path"):
        lab.submit(bulk("AlCu", "cesiumchloride", a=2.95), engine="lammps", task="static")


def test_a_method_of_tight_binding_is_not_picked_silently_either(lab: Lab) -> None:
    before = lab.services.store.count()
    with pytest.raises(nl.InputError, match="needs one of 'GFN2-xTB', 'GFN1-xTB', 'IPEA1-xTB'"):
        lab.submit(bulk("Cu"), engine="tblite", task="static")
    assert lab.services.store.count() == before


def test_each_of_them_is_one_that_a_job_can_take() -> None:
    from nanoos_lab.core.parameters import validate
    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines import registry
    from nanoos_lab.engines.base import EnginePolicy

    engine = registry.get("lammps")
    for element in ("Cu", "Si", "C", "O"):
        structure = Structure.encode(bulk(element, "fcc", a=4.0))
        names = nl.potentials(element, engine="lammps").index
        assert len(names) > 3
        for name in names:
            given = validate(engine.tasks["static"], {"potential": name}, where="here")
            assert engine.check(structure, "static", given, EnginePolicy())
