"""The tasks without an optimiser that start from a structure: from parameters to results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoos_lab.engines.drive import drive
from nanoos_lab.engines.lammps import inputs
from nanoos_lab.engines.lammps.session import Session
from nanoos_lab.engines.lammps.simulation import Simulation

if TYPE_CHECKING:
    from nanoos_lab.core.frames import Results
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.lammps.parameters import LammpsMDParameters, LammpsStaticParameters


def static(request: JobRequest, parameters: LammpsStaticParameters, context: RunContext) -> Results:
    """Compute energy, forces and stress of the structure as it is."""
    with Session.open(request, parameters, context) as session:
        session.execute(inputs.setup(session.system, session.force_field))
        simulation = Simulation(session.program, session.system)
        session.note(["run 0"])
        simulation.prepare()
        context.begin(simulation.head(total=0))
        drive(simulation, steps=0, every=1, context=context)
        return session.results(simulation, {})


def md(request: JobRequest, parameters: LammpsMDParameters, context: RunContext) -> Results:
    """Run molecular dynamics; a restart file is written at its end."""
    with Session.open(request, parameters, context) as session:
        session.execute(inputs.setup(session.system, session.force_field))
        session.execute(inputs.dynamics(session.system, parameters))
        simulation = Simulation(session.program, session.system, timestep=parameters.timestep, steps=parameters.steps)
        session.note([f"thermo {parameters.every}", f"run {parameters.steps}"])
        simulation.prepare()
        context.begin(simulation.head(total=parameters.steps))
        reached = drive(simulation, steps=parameters.steps, every=parameters.every, context=context)
        session.program.log_again()
        results = session.results(simulation, {"seed": parameters.seed}, stopped=reached < parameters.steps)
        session.write_restart()
        return results
