"""What pw.x asks of a structure and its parameters, checked before anything is queued."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoos_lab.core.errors import InputError, ParameterError, StructureError
from nanoos_lab.engines import distances
from nanoos_lab.engines.espresso import inputs, upf
from nanoos_lab.engines.espresso.parameters import EspressoMDParameters, EspressoParameters, EspressoRelaxParameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase import Atoms

    from nanoos_lab.engines.espresso.pseudos import Cutoffs, Pseudo

#: Most kinds of atoms that pw.x takes, its ``ntypx``.
MOST_SPECIES = 10
#: Names of the dispersion correction DFT-D3, in small letters; and functionals of the density alone, for which it has$
#: no parameters in any version.
_D3, _LOCAL = ("grimme-d3", "dft-d3"), ("PZ", "PW")


def check(atoms: Atoms, parameters: EspressoParameters, pseudos: Mapping[str, Pseudo], cutoffs: Cutoffs | None) -> None:
    """Raise an InputError if pw.x could not run it, or would run something else than was meant."""
    if atoms.cell.rank < 3 or atoms.cell.volume < 1e-3:
        raise StructureError(
            "pw.x needs a cell with a volume, molecules too: atoms.center(vacuum=6) puts them into one"
        )
    distances.check(atoms, periodic=True)
    _check_species(atoms, parameters)
    _check_dispersion(parameters, pseudos)
    _check_electrons(atoms, parameters, pseudos)
    _check_constraints(atoms, parameters)
    inputs.write_inputs(atoms, parameters, pseudos, cutoffs)


def _check_species(atoms: Atoms, parameters: EspressoParameters) -> None:
    kinds, _ = inputs.species(atoms)
    if len(kinds) > MOST_SPECIES:
        raise StructureError(
            f"pw.x takes at most {MOST_SPECIES} kinds of atoms, and elements, initial magnetic moments and masses make "
            f"{len(kinds)}: {', '.join(f'{kind.symbol} {kind.magmom:g} {kind.mass:g} u' for kind in kinds)}"
        )
    total = parameters.asked("system", "tot_magnetization")
    if total is not None and not any(kind.magmom for kind in kinds):
        raise ParameterError(
            "input['system']['tot_magnetization']",
            total,
            "only for a structure with initial magnetic moments, which make pw.x count both spins",
        )
    if parameters.smearing == "tetrahedra" and not atoms.pbc.any():
        raise ParameterError(
            "smearing",
            parameters.smearing,
            "a smearing with a width for a structure that is not periodic: it has no mesh of k-points for tetrahedra",
        )


def _check_dispersion(parameters: EspressoParameters, pseudos: Mapping[str, Pseudo]) -> None:
    asked, named = parameters.asked("system", "vdw_corr"), parameters.asked("system", "input_dft")
    used = {one.header.functional for one in pseudos.values()} if named is None else {upf.functional(str(named))}
    if str(asked).lower() in _D3 and used <= set(_LOCAL):
        raise ParameterError(
            "input['system']['vdw_corr']",
            asked,
            f"only with another functional, such as PBE: DFT-D3 has no parameters for {', '.join(used)}",
        )


def _check_electrons(atoms: Atoms, parameters: EspressoParameters, pseudos: Mapping[str, Pseudo]) -> None:
    count = inputs.electrons(atoms, parameters, pseudos)
    if count <= 0:
        raise ParameterError("charge", parameters.charge, f"less than the {count + parameters.charge:g} electrons")
    if inputs.noncollinear(atoms, parameters):
        _check_spinors(count, parameters, pseudos)
        return
    if parameters.smearing is not None:
        return
    polarised = any(kind.magmom for kind in inputs.species(atoms)[0])
    total = parameters.asked("system", "tot_magnetization")
    if polarised and total is None:
        raise ParameterError(
            "smearing",
            None,
            "one of pw.x's kinds, or input={'system': {'tot_magnetization': …}}, for a structure with magnetic moments",
        )
    if not polarised and abs(count / 2 - round(count / 2)) > 1e-6:
        raise ParameterError("smearing", None, f"one of pw.x's kinds, since {count:g} electrons cannot all be in pairs")


def _check_spinors(count: float, parameters: EspressoParameters, pseudos: Mapping[str, Pseudo]) -> None:
    total = parameters.asked("system", "tot_magnetization")
    if total is not None:
        raise ParameterError("input['system']['tot_magnetization']", total, "only where all moments are along one axis")
    if parameters.soc and not any(one.header.relativistic for one in pseudos.values()):
        names = ", ".join(sorted(one.name for one in pseudos.values()))
        raise ParameterError(
            "soc", True, f"only with fully relativistic pseudopotentials, and none of {names} is one; see pseudos"
        )
    if parameters.smearing is None and abs(count - round(count)) > 1e-6:
        raise ParameterError("smearing", None, f"one of pw.x's kinds, since {count:g} is no whole number of electrons")


def _check_constraints(atoms: Atoms, parameters: EspressoParameters) -> None:
    free = inputs.free_components(atoms)
    if not isinstance(parameters, (EspressoRelaxParameters, EspressoMDParameters)):
        return
    moves_cell = isinstance(parameters, EspressoRelaxParameters) and parameters.cell == "free"
    if moves_cell and not atoms.pbc.all():
        raise StructureError(f"a cell can change only if it is periodic in all directions; pbc is {atoms.pbc.tolist()}")
    if moves_cell and not free.all():
        raise StructureError("atoms cannot be fixed in a cell that changes: they would move with it")
    if not free.any():
        raise InputError("constraints fix all atoms, so there is nothing to move")
    if isinstance(parameters, EspressoMDParameters) and parameters.ensemble == "nvt" and len(atoms) == 1 and free.all():
        raise StructureError("a single atom has no temperature: pw.x takes the motion of the centre of mass away")
