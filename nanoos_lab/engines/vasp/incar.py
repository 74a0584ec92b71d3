"""INCAR and KPOINTS, from the parameters of a task; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nanoos_lab.engines import kpoints
from nanoos_lab.engines.vasp.parameters import (
    Given,
    Value,
    VaspMDParameters,
    VaspRelaxParameters,
    changes_cell,
    items,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase.dft.kpoints import BandPath

    from nanoos_lab.engines.kpoints import Mesh

Array = np.ndarray[Any, Any]

#: Distance of k-points in Å⁻¹ if nothing is said.
KSPACING = 0.25
_ISMEAR = {"gaussian": 0, "fermi": -1, "methfessel-paxton": 1, "tetrahedron": -5}
_IBRION = {"quasi-newton": 1, "cg": 2, "damped": 3}
#: Functionals as tags (VASP wiki, pages GGA, METAGGA, List of hybrid functionals).
_XC: Mapping[str, Mapping[str, Value]] = {
    "PBE": {"GGA": "PE"},
    "PBEsol": {"GGA": "PS"},
    "RPBE": {"GGA": "RP"},
    "revPBE": {"GGA": "RE"},
    "LDA": {},
    "SCAN": {"METAGGA": "SCAN", "LASPH": True},
    "r2SCAN": {"METAGGA": "R2SCAN", "LASPH": True},
    "PBE0": {"GGA": "PE", "LHFCALC": True, "ALGO": "Damped", "TIME": 0.4},
    "HSE06": {"GGA": "PE", "LHFCALC": True, "HFSCREEN": 0.2, "ALGO": "Damped", "TIME": 0.4},
}
#: The heaviest elements without d and f electrons.
_NO_D, _NO_F = 20, 56
#: Factor on the largest ENMAX where the cell changes, since the basis set does not change with it.
_FREE_CELL = 1.3
#: The first number of RANDOM_SEED is below this (VASP wiki, page RANDOM_SEED).
_SEEDS = 900_000_000
#: Friction in 1/ps for a relaxation time of 1 fs; kB in GPa.
_PER_PS, _KBAR = 1000.0, 10.0


def build(
    given: Given,
    *,
    species: int,
    enmax: float,
    magmoms: Array | None,
    masses: list[float] | None = None,
    first: int = 0,
    random_seed: tuple[int, int, int] | None = None,
) -> dict[str, Value]:
    """Return the tags of the INCAR.

    Parameters
    ----------
    given
        The task's parameters.
    species
        Number of species in the POSCAR.
    enmax
        The largest ENMAX of their POTCARs, in eV.
    magmoms
        Initial magnetic moments in the order of the POSCAR, shape (atoms,) or (atoms, 3); None if there are none.
    masses
        Of the species in u, for molecular dynamics; None for those of the POTCARs.
    first
        Step at which this attempt begins.
    random_seed
        Where VASP's random numbers stand there; None if that is not known, or at the beginning.
    """
    tags: dict[str, Value] = {
        "PREC": given.precision,
        "ENCUT": given.encut or round(enmax * (_FREE_CELL if changes_cell(given) else 1.0), 3),
        "EDIFF": given.ediff,
        "NELM": given.nelm,
        "ISMEAR": _ISMEAR[given.smearing],
        "SIGMA": given.sigma,
        "LORBIT": 11,
        "LCHARG": False,
        **_XC[given.xc],
        **_spin(given, magmoms),
    }
    if isinstance(given, VaspRelaxParameters):
        tags |= _relax(given, first)
    elif isinstance(given, VaspMDParameters):
        tags |= _md(given, species, first, random_seed)
    else:
        tags |= {"IBRION": -1, "NSW": 0}
    if masses is not None:
        tags["POMASS"] = list(masses)
    return tags | given.incar


def finding_density(tags: Mapping[str, Value], numbers: Sequence[int]) -> dict[str, Value]:
    """Return the tags of the first run of task ``bands``, which writes its density.

    Parameters
    ----------
    tags
        Those of the run by itself.
    numbers
        Atomic numbers.
    """
    heaviest = max(numbers)
    # What d and f electrons are within the PAW spheres is left out otherwise (VASP wiki, page LMAXMIX).
    most = {} if heaviest <= _NO_D else {"LMAXMIX": 4 if heaviest <= _NO_F else 6}
    return {**most, **tags, "LCHARG": True}


def keeping_density(first: Mapping[str, Value]) -> dict[str, Value]:
    """Return the tags of its second run, which keeps that density.

    Parameters
    ----------
    first
        The tags of that one.
    """
    found = {**first, "ISTART": 0, "ICHARG": 11, "LCHARG": False}
    if found["ISMEAR"] == _ISMEAR["tetrahedron"]:
        # A path has no tetrahedra.
        found["ISMEAR"] = _ISMEAR["gaussian"]
    return found


def _spin(given: Given, magmoms: Array | None) -> dict[str, Value]:
    if given.soc:
        vectors = np.zeros((0, 3)) if magmoms is None else magmoms
        if vectors.ndim == 1:
            vectors = np.stack([np.zeros_like(vectors), np.zeros_like(vectors), vectors], axis=1)
        found: dict[str, Value] = {"LSORBIT": True}
        return found | ({"MAGMOM": [float(each) for each in vectors.ravel()]} if len(vectors) else {})
    if given.spin is None:
        polarized = magmoms is not None and bool(np.any(magmoms))
    else:
        polarized = given.spin
    if not polarized:
        return {"ISPIN": 1}
    if magmoms is None or not np.any(magmoms):
        return {"ISPIN": 2}
    return {"ISPIN": 2, "MAGMOM": [float(each) for each in magmoms]}


def _relax(given: VaspRelaxParameters, first: int) -> dict[str, Value]:
    # VASP counts evaluations: one more than steps.
    found: dict[str, Value] = {
        "IBRION": _IBRION[given.optimizer],
        "NSW": given.steps - first + 1,
        "EDIFFG": -given.fmax,
        "ISIF": 3 if given.cell == "free" else 2,
    }
    return found | ({"PSTRESS": given.pressure * _KBAR} if given.pressure else {})


def _md(
    given: VaspMDParameters, species: int, first: int, random_seed: tuple[int, int, int] | None
) -> dict[str, Value]:
    # Another seed, where the place in the sequence is not known: the forces of the attempt before must not come again.
    seeds = random_seed or ((given.seed + first) % _SEEDS, 0, 0)
    found: dict[str, Value] = {
        "IBRION": 0,
        "NSW": given.steps - first + 1,
        "POTIM": given.timestep,
        "ISYM": 0,
        "ISIF": 3 if given.ensemble == "npt" else 2,
        "RANDOM_SEED": list(seeds),
    }
    begin, end = given.temperature_at(first), given.temperature_at(given.steps)
    if begin is not None and end is not None:
        # VASP goes from one to the other in the steps that it makes itself, so this is the rest of the ramp. Its wiki
        # says so of no thermostat in particular (page TEEND; older versions of that page: of SMASS = -1 alone).
        found |= {"TEBEG": begin, "TEEND": end}
    if given.ensemble == "nve":
        # Andersen's thermostat that never acts (VASP wiki, page NVE ensemble).
        return found | {"MDALGO": 1, "ANDERSEN_PROB": 0.0}
    found |= {"MDALGO": 3, "LANGEVIN_GAMMA": [_PER_PS / given.tdamp] * species}
    if given.ensemble == "npt":
        found |= {
            "LANGEVIN_GAMMA_L": _PER_PS / given.pdamp,
            "PMASS": 1000,
            "PSTRESS": (given.pressure or 0.0) * _KBAR,
        }
    return found


def write(tags: Mapping[str, Value]) -> str:
    """Return the text of an INCAR."""
    return "".join(f"{tag} = {' '.join(_word(each) for each in items(value))}\n" for tag, value in tags.items())


def _word(value: bool | float | str) -> str:
    if isinstance(value, bool):
        return ".TRUE." if value else ".FALSE."
    return value if isinstance(value, str) else repr(value)


def mesh(given: Given, cell: Array, pbc: tuple[bool, bool, bool]) -> Mesh:
    """Return the number of k-points along each reciprocal vector: one where the structure is not periodic.

    Parameters
    ----------
    given
        The task's parameters.
    cell
        Cell vectors as rows, in Å.
    pbc
        Periodicity along them.
    """
    if given.kpts is not None:
        return given.kpts
    return kpoints.mesh(cell, pbc, given.kspacing or KSPACING)


def write_path(path: BandPath) -> str:
    """Return the text of a KPOINTS with the points of a path, one by one."""
    rows = "".join(f"{x:.14f} {y:.14f} {z:.14f} 1\n" for x, y, z in path.kpts)
    return f"path {path.path}\n{len(path.kpts)}\nReciprocal\n{rows}"


def write_kpoints(points: Mesh, *, gamma: bool) -> str:
    """Return the text of a KPOINTS with a regular mesh."""
    numbers = " ".join(str(each) for each in points)
    return f"regular mesh\n0\n{'Gamma' if gamma else 'Monkhorst-Pack'}\n{numbers}\n0 0 0\n"
