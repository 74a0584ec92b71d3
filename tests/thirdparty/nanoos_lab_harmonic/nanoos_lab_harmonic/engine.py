"""The engine ``harmonic``, to start your own from: each atom on a spring, at rest where the structure has it.

An engine whose program is a calculator of ASE is shorter still: derive it from
`nanoos_lab.engines.ase.over.CalculatorEngine`.
"""

from importlib.metadata import version
from types import MappingProxyType

import numpy as np
from ase import units
from ase.calculators.harmonic import SpringCalculator
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

from nanoos_lab.core.errors import ParameterError, StructureError
from nanoos_lab.core.frames import Results
from nanoos_lab.core.parameters import MDParameters, StaticParameters, field
from nanoos_lab.engines.ase.measure import Meter
from nanoos_lab.engines.base import Engine, EngineInfo
from nanoos_lab.engines.drive import Course, drive


class HarmonicStatic(StaticParameters):
    """Parameters of task ``static``: unit, range and meaning are what users are told of a wrong value."""

    spring: float = field(5.0, unit="eV/Å²", gt=0, le=1e3, doc="stiffness of the springs")


class HarmonicMD(MDParameters, HarmonicStatic):
    """Parameters of task ``md``: those of every engine's, and the spring."""


class HarmonicEngine(Engine):
    """What nanoos_lab knows of the engine; ``pyproject.toml`` names this class as an entry point."""

    name = "harmonic"
    tasks = MappingProxyType({"static": HarmonicStatic, "md": HarmonicMD})
    #: Tasks that go on from checkpoints; see `nanoos_lab.engines.grid` to have some.
    resumable = frozenset()

    def probe(self):
        """Say what is there; an engine whose program is missing says how to get it."""
        return EngineInfo(name=self.name, found=True, version=version("nanoos-lab-harmonic"), where=__file__)

    def check(self, structure, task, parameters, policy, files=None):
        """Refuse, in the user's cell, what could not work; return the input files, of which there are none."""
        if structure is None:
            raise StructureError(f"engine 'harmonic', task {task!r} needs a structure")
        if task == "md" and parameters.ensemble != "nve":
            raise ParameterError("ensemble", parameters.ensemble, "only 'nve': springs know no thermostat")
        return {}

    def run(self, request, context):
        """Run a task to its end, or until the context asks to stop, in a process of its own."""
        given = self.tasks[request.task](**request.parameters)
        steps, every = (given.steps, given.every) if request.task == "md" else (0, 1)
        springs = Springs(request.structure.atoms(), given)
        context.begin(springs.meter.head(total=steps))
        reached = drive(springs, Course(steps=steps, every=every), context)
        return Results(
            properties=springs.meter.properties(), structure=springs.meter.structure(), stopped=reached < steps
        )


class Springs:
    """The simulation, as `nanoos_lab.engines.drive.Stepper` has it: it can be advanced and looked at."""

    def __init__(self, atoms, given):
        atoms.calc = SpringCalculator(atoms.get_positions(), given.spring)
        self.meter = Meter(atoms, "harmonic", freedom=3 * len(atoms))
        self.timestep = getattr(given, "timestep", 0.0)
        if getattr(given, "temperature", None) and not atoms.has("momenta"):
            rng = np.random.default_rng(given.seed)
            MaxwellBoltzmannDistribution(atoms, temperature_K=given.temperature, rng=rng)
        self.dynamics = VelocityVerlet(atoms, self.timestep * units.fs)

    def advance(self, steps):
        """Make so many steps; return how many were made."""
        self.dynamics.run(steps)
        return steps

    def sample(self, step):
        """Return the row of thermo and the frame at a step."""
        return self.meter.sample(step, step * self.timestep)

    #: What those who watch see in between.
    glance = sample
