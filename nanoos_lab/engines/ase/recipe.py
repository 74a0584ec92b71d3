"""How to get the numbers of a job with ASE and its calculator alone: a short script. Pure text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import InputError
from nanoos_lab.engines import displacements
from nanoos_lab.engines.ase.parameters import (
    BandParameters,
    Calculated,
    DynamicsParameters,
    OptimizerParameters,
    PhononParameters,
    SinglePointParameters,
)
from nanoos_lab.engines.base import STRUCTURE, Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nanoos_lab.core.parameters import TaskParameters
    from nanoos_lab.core.resources import Resources

#: The script in the directory of a recipe, and the positions of the other end of a path in Å.
SCRIPT, FINAL = "run.py", "final.json"
_NOTES = (
    "PYTHON names a Python with ASE, with whatever brings the calculator, and for phonons with phonopy.\n"
    "Of the same versions, on the same kind of processor, it gives the same numbers."
)
_START = """\
{imports}
from ase.io import read


def calculator():
{before}    return {made}


atoms = read("{structure}")
atoms.calc = calculator()
"""
_END = """\
print("energy", atoms.get_potential_energy(), "eV")
print("fmax", (atoms.get_forces() ** 2).sum(axis=1).max() ** 0.5, "eV/Å")
"""
_RELAX = """\
{moved}
optimizer = {optimizer}(moved)
optimizer.run(fmax={fmax!r}, steps={steps})
"""
_BAND = """\
images = [atoms, *(atoms.copy() for _ in range({images})), atoms.copy()]
with open("{final}") as file:
    images[-1].set_positions(json.load(file))
for image in images[1:]:
    image.calc = calculator()
for end in (images[0], images[-1]):
    found = {{"energy": end.get_potential_energy(), "forces": end.get_forces(apply_constraint=False)}}
    end.calc = SinglePointCalculator(end, **found)
band = NEB(images, k={spring!r}, climb={climb}, method="improvedtangent")
band.interpolate(method="{interpolation}", mic=bool(atoms.pbc.any()), apply_constraint=True)
band = NEB(images, k={spring!r}, climb={climb}, method="improvedtangent")
optimizer = {optimizer}(band)
optimizer.run(fmax={fmax!r}, steps={steps})
energies = [float(image.get_potential_energy()) for image in images]
print("energies", *map(repr, energies), "eV")
print("barrier", max(energies) - energies[0], "eV")
atoms = max(images[1:-1], key=lambda image: image.get_potential_energy())
"""
_PHONONS = """\
cell = PhonopyAtoms(
    numbers=atoms.numbers,
    scaled_positions=atoms.get_scaled_positions(),
    cell=atoms.cell.array,
    masses=atoms.get_masses(),
    magnetic_moments=atoms.arrays.get("initial_magmoms"),
)
matrix = np.array({supercell!r})
phonons = Phonopy(cell, supercell_matrix=matrix.T, primitive_matrix=guess_primitive_matrix(cell))
phonons.generate_displacements(distance={distance!r})
still = phonons.supercell
first = {{image: original for original, image in enumerate(still.u2s_map)}}
origin = [first[image] for image in still.s2u_map]
supercell = Atoms(numbers=still.numbers, positions=still.positions, cell=still.cell, pbc=True, calculator=atoms.calc)
for name in {per_atom!r}:
    if name in atoms.arrays:
        supercell.set_array(name, atoms.arrays[name][origin])
forces = []
for each in (still, *phonons.supercells_with_displacements):
    supercell.set_positions(each.positions)
    forces.append(supercell.get_forces())
    if len(forces) == 1:
        print("energy", supercell.get_potential_energy() * len(atoms) / len(supercell), "eV")
phonons.forces = np.array(forces[1:]) - forces[0]
phonons.produce_force_constants(show_drift=False)
phonons.symmetrize_force_constants(show_drift=False)
print("frequencies", *map(float, phonons.run_qpoints([(0.0, 0.0, 0.0)]).frequencies[0]), "THz")
"""
_VELOCITIES = """\
rng = np.random.default_rng({seed})
moves = bool(atoms.get_momenta().any())
if not moves and {temperature!r} is not None:
    spread = np.sqrt(atoms.get_masses() * units.kB * {temperature!r})[:, None]
    atoms.set_momenta(spread * rng.standard_normal((len(atoms), 3)))
if {at_rest} and not atoms.constraints and len(atoms) > 1:
    masses, momenta = atoms.get_masses()[:, None], atoms.get_momenta()
    atoms.set_momenta(momenta - masses * momenta.sum(axis=0) / masses.sum())
timestep = {timestep!r} * units.fs
"""
_FREEDOM = """\
freedom = atoms.get_number_of_degrees_of_freedom() - 3 * (not atoms.constraints and len(atoms) > 1)
"""
_VERLET = """\
dynamics = VelocityVerlet(atoms, timestep)
"""
_BUSSI = (
    _FREEDOM
    + """\
dynamics = Bussi(atoms, timestep, temperature_K={temperature!r}, taut={tdamp!r} * units.fs, rng=rng)
dynamics.ndof = freedom


def heat(kelvin):
    dynamics.target_kinetic_energy = 0.5 * freedom * units.kB * kelvin


heat({temperature!r})
"""
)
_LANGEVIN = """\
friction = 1 / ({tdamp!r} * units.fs)
dynamics = Langevin(atoms, timestep, temperature_K={temperature!r}, friction=friction, fixcm=False, rng=rng)


def heat(kelvin):
    dynamics.set_temperature(temperature_K=kelvin)
"""
_NOSE_HOOVER = (
    _FREEDOM
    + """\
chain = NoseHooverChainThermostat(
    num_atoms_global=freedom / 3,
    masses=atoms.get_masses()[:, None],
    temperature_K={temperature!r},
    tdamp={tdamp!r} * units.fs,
)


class Chained(VelocityVerlet):
    def scale(self):
        self.atoms.set_momenta(chain.integrate_nhc(self.atoms.get_momenta(), self.dt / 2))

    def step(self, forces=None):
        self.scale()
        forces = super().step(forces)
        self.scale()
        return forces


dynamics = Chained(atoms, timestep)
"""
)
_NPT = """\
pdamp = {pdamp!r} * units.fs
dynamics = LangevinBAOAB(
    atoms,
    timestep,
    temperature_K={temperature!r},
    externalstress=-{pressure!r} * units.GPa,
    hydrostatic=True,
    T_tau={tdamp!r} * units.fs,
    P_tau=pdamp,
    P_mass=(3 * len(atoms) + 3) * units.kB * {temperature!r} * pdamp**2,
    rng=rng,
)
heat = dynamics.set_temperature
"""
_RAMP = """

def ramp():
    heat({temperature!r} + ({temperature_end!r} - {temperature!r}) * dynamics.nsteps / {steps})


dynamics.attach(ramp, interval=1)
"""
_RUN = """

def show():
    energies = atoms.get_potential_energy(), atoms.get_kinetic_energy()
    print("step", dynamics.nsteps, *map(repr, map(float, energies)), "eV")


dynamics.attach(show, interval={every})
dynamics.run({steps})
"""
_VERLET_FROM = "from ase.md.verlet import VelocityVerlet"
#: How each ensemble and thermostat is set up, and what that takes.
_INTEGRATORS = {
    "nve": (_VERLET, [_VERLET_FROM]),
    "bussi": (_BUSSI, ["from ase.md.bussi import Bussi"]),
    "langevin": (_LANGEVIN, ["from ase.md.langevin import Langevin"]),
    "nose-hoover": (
        _NOSE_HOOVER,
        ["from ase.md.nose_hoover_chain import NoseHooverChainThermostat", _VERLET_FROM],
    ),
    "npt": (_NPT, ["from ase.md.langevinbaoab import LangevinBAOAB"]),
}


@dataclass(frozen=True, kw_only=True)
class Written:
    """How a calculator is made in a script."""

    #: The line that imports it, or several.
    imports: Sequence[str]
    #: The expression that makes one.
    made: str
    #: Lines before that, at each time that one is made.
    before: Sequence[str] = ()


def called(name: str, options: Mapping[str, Any]) -> str:
    """Return the call of a class with keyword arguments."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in options.items())})"


def recipe(given: TaskParameters, calculator: Written, resources: Resources) -> Recipe:
    """Return how to get the numbers of a job.

    Parameters
    ----------
    given
        Its parameters.
    calculator
        How its calculator is made.
    resources
        Its threads: with others, sums are added up in another order.

    Raises
    ------
    InputError
        If there is no short script for such a task.
    """
    if not isinstance(given, Calculated):
        raise InputError(f"there is no recipe without nanoos_lab for {type(given).__name__}")
    lines, imports, texts = _task(given)
    start = _START.format(
        imports="\n".join([*imports, *calculator.imports]),
        before="".join(f"    {line}\n" for line in calculator.before),
        made=calculator.made,
        structure=STRUCTURE,
    )
    command = f'OMP_NUM_THREADS={resources.threads} "${{PYTHON:-python3}}" {SCRIPT}'
    # The crystal of phonons was never computed by itself.
    end = "" if isinstance(given, PhononParameters) else _END
    return Recipe(command=command, texts={SCRIPT: start + lines + end, **texts}, notes=_NOTES)


def _task(given: Calculated) -> tuple[str, list[str], dict[str, str]]:
    """Return the lines of a task, what they import, and other files by name."""
    match given:
        case SinglePointParameters():
            return "", [], {}
        case OptimizerParameters():
            return *_relaxation(given), {}
        case DynamicsParameters():
            return *_dynamics(given), {}
        case BandParameters():
            return *_band(given), {FINAL: json.dumps(given.final.positions)}
        case PhononParameters():
            return *_phonons(given), {}
    raise InputError(f"there is no recipe without nanoos_lab for {type(given).__name__}")


def _relaxation(given: OptimizerParameters) -> tuple[str, list[str]]:
    imports = [f"from ase.optimize import {given.optimizer}"]
    if given.cell == "fixed":
        moved = "moved = atoms"
    else:
        imports = ["from ase import units", "from ase.filters import FrechetCellFilter", *imports]
        moved = f"moved = FrechetCellFilter(atoms, scalar_pressure={given.pressure!r} * units.GPa)"
    values = {"optimizer": given.optimizer, "fmax": given.fmax, "steps": given.steps}
    return _RELAX.format(moved=moved, **values), imports


def _dynamics(given: DynamicsParameters) -> tuple[str, list[str]]:
    kind = given.thermostat if given.ensemble == "nvt" else given.ensemble
    integrator, imports = _INTEGRATORS[kind]
    text = _VELOCITIES + integrator
    if kind != "nve" and given.temperature_end is not None:
        text += _RAMP
    at_rest = "not moves" if kind == "nve" else "True"
    lines = (text + _RUN).format(at_rest=at_rest, **given.model_dump())
    return lines, ["import numpy as np", "from ase import units", *imports]


def _phonons(given: PhononParameters) -> tuple[str, list[str]]:
    imports = [
        "import numpy as np",
        "from ase import Atoms",
        "from phonopy import Phonopy",
        "from phonopy.structure.atoms import PhonopyAtoms",
        "from phonopy.structure.cells import guess_primitive_matrix",
    ]
    values = {"supercell": given.supercell, "distance": given.distance, "per_atom": displacements.PER_ATOM}
    return _PHONONS.format(**values), imports


def _band(given: BandParameters) -> tuple[str, list[str]]:
    imports = [
        "import json",
        "from ase.calculators.singlepoint import SinglePointCalculator",
        "from ase.mep import NEB",
    ]
    names = ("images", "spring", "climb", "interpolation", "optimizer", "fmax", "steps")
    lines = _BAND.format(final=FINAL, **{name: getattr(given, name) for name in names})
    return lines, [*imports, f"from ase.optimize import {given.optimizer}"]
