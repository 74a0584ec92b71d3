"""The engine ``harmonic``: every atom hangs on a spring, which is at rest where the atom of the structure is."""

from importlib.metadata import version
from math import nan
from types import MappingProxyType

import numpy as np
from ase import units
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from nanoos_lab.core.errors import ParameterError, StructureError
from nanoos_lab.core.frames import Frame, Results, RunHead, Sample
from nanoos_lab.core.parameters import MDParameters, StaticParameters, field
from nanoos_lab.core.structures import Structure
from nanoos_lab.core.units import thermo_columns
from nanoos_lab.engines.base import Engine, EngineInfo
from nanoos_lab.engines.drive import Course, drive


class HarmonicStatic(StaticParameters):
    spring: float = field(5.0, unit="eV/Å²", gt=0, le=1e3, doc="stiffness of the springs")


class HarmonicMD(MDParameters, HarmonicStatic):
    pass


class HarmonicEngine(Engine):
    name = "harmonic"
    tasks = MappingProxyType({"static": HarmonicStatic, "md": HarmonicMD})
    resumable = frozenset()

    def probe(self):
        return EngineInfo(name=self.name, found=True, version=version("nanoos-lab-harmonic"), where=__file__)

    def check(self, structure, task, parameters, policy, files=None):
        if structure is None:
            raise StructureError(f"engine 'harmonic', task {task!r} needs a structure")
        if task == "md" and parameters.ensemble != "nve":
            raise ParameterError("ensemble", parameters.ensemble, "only 'nve': springs know no thermostat")
        return {}

    def run(self, request, context):
        given = self.tasks[request.task](**request.parameters)
        steps, every = (given.steps, given.every) if request.task == "md" else (0, 1)
        springs = Springs(request.structure.atoms(), given)
        context.begin(RunHead(total=steps, columns=thermo_columns(), numbers=springs.atoms.numbers, pbc=(False,) * 3))
        reached = drive(springs, Course(steps=steps, every=every), context)
        results = {"energy": springs.energy(), "forces": springs.forces()}
        return Results(properties=results, structure=Structure.encode(springs.atoms), stopped=reached < steps)


class Springs:
    def __init__(self, atoms, given):
        self.atoms, self.sites, self.spring = atoms, atoms.get_positions(), given.spring
        self.time = getattr(given, "timestep", 0.0)
        if getattr(given, "temperature", None):
            rng = np.random.default_rng(given.seed)
            MaxwellBoltzmannDistribution(atoms, temperature_K=given.temperature, rng=rng)

    def forces(self):
        return self.spring * (self.sites - self.atoms.positions)

    def energy(self):
        return 0.5 * self.spring * float(((self.atoms.positions - self.sites) ** 2).sum())

    def advance(self, steps):
        step = self.time * units.fs
        for _ in range(steps):
            self.atoms.set_momenta(self.atoms.get_momenta() + 0.5 * step * self.forces())
            self.atoms.positions += step * self.atoms.get_velocities()
            self.atoms.set_momenta(self.atoms.get_momenta() + 0.5 * step * self.forces())
        return steps

    def sample(self, step):
        kinetic, potential, time = self.atoms.get_kinetic_energy(), self.energy(), step * self.time
        temperature = kinetic / (1.5 * units.kB * len(self.atoms))
        velocities = self.atoms.get_velocities() * units.fs
        frame = Frame(
            step=step,
            time=time,
            positions=self.atoms.get_positions(),
            cell=self.atoms.cell.array,
            velocities=velocities,
        )
        row = (time, temperature, potential, kinetic, potential + kinetic, nan, nan)
        return Sample(step=step, row=row, frame=frame)
