"""What is computed, and what it is compared with. Each check submits its jobs first and collects their numbers later.

[F] S. M. Foiles, M. I. Baskes, M. S. Daw, Phys. Rev. B 33, 7983 (1986).
[M] Y. Mishin et al., Phys. Rev. B 63, 224106 (2001).
[S] F. H. Stillinger, T. A. Weber, Phys. Rev. B 31, 5262 (1985); elastic constants: E. R. Cowley, Phys. Rev. Lett. 60,
    2379 (1988).
[J] K. W. Jacobsen, P. Stoltze, J. K. Nørskov, Surf. Sci. 366, 394 (1996), as ASE has it.
[B] C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019), as tblite has it.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from nanoos_lab.lab.workflows.elastic import elastic_constants
from nanoos_lab.lab.workflows.eos import equation_of_state, fit
from tests.correctness import calculators_by_hand, lammps_by_hand, vasp_recorded
from tests.correctness import espresso_by_hand as by_hand
from tests.correctness.table import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable

    from nanoos_lab.lab.lab import Lab
    from nanoos_lab.lab.workflows.eos import EquationOfStateFit

    Collect = Callable[[], list[Quantity]]

LONG = 600.0


def emt(lab: Lab, symbol: str) -> Collect:
    """Equation of state of a metal with effective medium theory, against a loop over ASE's calculator."""
    group = equation_of_state(bulk(symbol, cubic=True), engine="ase", calculator="emt", points=7, lab=lab)

    def collect() -> list[Quantity]:
        ours = group.wait(LONG).fit()
        volumes = group.columns["volume"]
        plain = fit(volumes, [_emt_energy(symbol, volume) for volume in volumes], reference=group.reference)
        own = partial(Quantity, engine="ase", source="ASE's EMT without nanoos_lab")
        found = [
            own(name=f"{symbol} EMT lattice constant", **_edges(ours, plain), tolerance=1e-6, unit="Å"),
            own(name=f"{symbol} EMT bulk modulus", **_moduli(ours, plain), tolerance=1e-4, unit="GPa"),
        ]
        if symbol == "Cu":
            edge = _edges(ours)["value"]
            told = partial(Quantity, engine="ase", source="[J]")
            found += [
                told(name="Cu EMT lattice constant", value=edge, reference=3.590, tolerance=0.002, unit="Å"),
                told(name="Cu EMT bulk modulus", value=ours.bulk_modulus, reference=134, tolerance=2, unit="GPa"),
            ]
        return found

    return collect


def _emt_energy(symbol: str, volume: float) -> float:
    atoms = bulk(symbol, cubic=True, a=volume ** (1 / 3))
    atoms.calc = EMT()
    return float(atoms.get_potential_energy())


def _edges(ours: EquationOfStateFit, plain: EquationOfStateFit | None = None) -> dict[str, float]:
    values = {"value": float(ours.lattice_constant or np.nan)}
    return values if plain is None else {**values, "reference": float(plain.lattice_constant or np.nan)}


def _moduli(ours: EquationOfStateFit, plain: EquationOfStateFit) -> dict[str, float]:
    return {"value": ours.bulk_modulus, "reference": plain.bulk_modulus}


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a publication says of a crystal and a potential of LAMMPS."""

    crystal: Atoms
    potential: str
    #: Which publication.
    source: str
    #: Lattice constant in Å.
    edge: float
    #: Energy an atom in eV.
    energy: float
    #: C11, C12 and C44 in GPa, and how far off they may be.
    constants: tuple[float, float, float]
    within: float
    #: "relax" where the atoms of a strained cell move.
    task: str = "static"


PUBLISHED = (
    Published(
        crystal=bulk("Cu", a=3.615, cubic=True),
        potential="Cu_u3.eam",
        source="[F]",
        edge=3.615,
        energy=-3.54,
        constants=(167, 124, 76),
        within=1.5,
    ),
    Published(
        crystal=bulk("Cu", a=3.615, cubic=True),
        potential="Cu_mishin1.eam.alloy",
        source="[M]",
        edge=3.615,
        energy=-3.54,
        constants=(169.9, 122.6, 76.2),
        within=1.0,
    ),
    Published(
        crystal=bulk("Si", a=5.431, cubic=True),
        potential="Si.sw",
        source="[S]",
        edge=5.431,
        energy=-4.3366,
        constants=(151.4, 76.4, 56.4),
        within=1.0,
        task="relax",
    ),
)


def crystal(lab: Lab, known: Published) -> Collect:
    """Lattice constant, energy an atom and elastic constants of a potential of LAMMPS, against its publication."""
    potential = known.potential
    given: dict[str, Any] = {"engine": "lammps", "potential": potential, "lab": lab}
    # A small span: the curve of a tabulated potential is no Birch-Murnaghan far from its minimum.
    states = equation_of_state(known.crystal, span=0.02, **given)
    tight = {} if known.task == "static" else {"fmax": 1e-6}
    strained = elastic_constants(known.crystal, task=known.task, **given, **tight)

    def collect() -> list[Quantity]:
        at_rest, elastic = states.wait(LONG).fit(), strained.wait(LONG).fit()
        one = partial(Quantity, engine="lammps", source=known.source)
        constant = partial(one, tolerance=known.within, unit="GPa")
        each = at_rest.energy / len(known.crystal)
        c11, c12, c44 = known.constants
        return [
            one(
                name=f"{potential} lattice constant", **_edges(at_rest), reference=known.edge, tolerance=2e-3, unit="Å"
            ),
            one(name=f"{potential} energy an atom", value=each, reference=known.energy, tolerance=5e-3, unit="eV"),
            constant(name=f"{potential} C11", value=elastic.c11, reference=c11),
            constant(name=f"{potential} C12", value=elastic.c12, reference=c12),
            constant(name=f"{potential} C44", value=elastic.c44, reference=c44),
            constant(name=f"{potential} bulk modulus", value=at_rest.bulk_modulus, reference=(c11 + 2 * c12) / 3),
        ]

    return collect


def argon(lab: Lab) -> Collect:
    """Energy, pressure and force of a Lennard-Jones crystal out of order in LAMMPS, against ASE's calculator."""
    atoms = bulk("Ar", "fcc", a=5.3, cubic=True) * (4, 4, 4)
    atoms.rattle(0.05, seed=2)
    job = lab.submit(
        atoms, engine="lammps", task="static", potential="lj", epsilon=0.0104, sigma=3.4, cutoff=8.5, cache=False
    )

    def collect() -> list[Quantity]:
        results = job.result(LONG)
        atoms.calc = LennardJones(epsilon=0.0104, sigma=3.4, rc=8.5, smooth=False)
        one = partial(Quantity, engine="lammps", source="ASE's LennardJones")
        pressure = [-float(np.mean(stress[:3])) / units.GPa for stress in (results["stress"], atoms.get_stress())]
        force = [float(np.abs(forces).max()) for forces in (results["forces"], atoms.get_forces())]
        energy = float(results["energy"]), float(atoms.get_potential_energy())
        return [
            one(name="Ar LJ energy", value=energy[0], reference=energy[1], tolerance=1e-8, unit="eV"),
            one(name="Ar LJ pressure", value=pressure[0], reference=pressure[1], tolerance=1e-8, unit="GPa"),
            one(name="Ar LJ largest force component", value=force[0], reference=force[1], tolerance=1e-8, unit="eV/Å"),
        ]

    return collect


def water(lab: Lab) -> Collect:
    """Water by extended tight binding: energy against tblite's own interface, geometry against its publication."""
    start = molecule("H2O")
    job = lab.submit(start, engine="tblite", task="static", method="GFN2-xTB", cache=False)
    relaxed = lab.submit(start, engine="tblite", task="relax", method="GFN2-xTB", fmax=1e-3)

    def collect() -> list[Quantity]:
        energy = float(job.result(LONG)["energy"])
        relaxed.wait(LONG)
        shape = relaxed.structure
        one = partial(Quantity, engine="tblite", source="[B]")
        return [
            Quantity(
                engine="tblite",
                name="H2O GFN2 energy",
                value=energy,
                reference=_tblite_by_hand(start),
                tolerance=1e-6,
                unit="eV",
                source="tblite's interface without nanoos_lab",
            ),
            one(name="H2O O-H distance", value=shape.get_distance(0, 1), reference=0.959, tolerance=1e-3, unit="Å"),
            one(name="H2O angle", value=shape.get_angle(1, 0, 2), reference=107.2, tolerance=0.1, unit="°"),
        ]

    return collect


def _tblite_by_hand(atoms: Atoms) -> float:
    """Return the energy in eV, computed in a process of its own."""
    code = (
        "import sys, json, numpy as np\n"
        "from tblite.interface import Calculator\n"
        "numbers, positions = json.loads(sys.argv[1])\n"
        "made = Calculator('GFN2-xTB', np.array(numbers), np.array(positions) / 0.52917721067)\n"
        "made.set('verbosity', 0)\n"
        "print(repr(float(made.singlepoint().get('energy'))))\n"
    )
    values = f"[{atoms.numbers.tolist()}, {atoms.positions.tolist()}]"
    said = subprocess.run([sys.executable, "-c", code, values], capture_output=True, text=True, check=True).stdout
    return float(said.split()[-1]) * units.Hartree


def checks(lab: Lab) -> list[Collect]:
    """Submit all jobs; return what collects their numbers."""
    return [
        *(check(lab) for check in (by_hand.silicon, by_hand.aluminium, by_hand.iron, by_hand.vibrations)),
        *(emt(lab, symbol) for symbol in ("Cu", "Al", "Au", "Ni")),
        *(crystal(lab, known) for known in PUBLISHED),
        argon(lab),
        water(lab),
        lammps_by_hand.from_the_library(lab),
        lammps_by_hand.in_real_units(lab),
        lammps_by_hand.from_an_executable(lab),
        *(check(lab) for check in calculators_by_hand.found()),
        *([] if vasp_recorded.missing() else [vasp_recorded.recorded]),
    ]
