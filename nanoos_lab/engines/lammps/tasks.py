"""The task without motion: from parameters to results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoos_lab.engines.lammps import inputs
from nanoos_lab.engines.lammps.session import Session
from nanoos_lab.engines.lammps.simulation import Simulation

if TYPE_CHECKING:
    from nanoos_lab.core.frames import Results
    from nanoos_lab.core.request import JobRequest
    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.lammps.parameters import LammpsStaticParameters


def static(request: JobRequest, parameters: LammpsStaticParameters, context: RunContext) -> Results:
    """Compute energy, forces and stress of the structure as it is."""
    with Session.open(request, parameters, context) as session:
        session.execute(inputs.setup(session.system, session.force_field))
        simulation = Simulation(session.program, session.system)
        session.note(["run 0"])
        simulation.prepare()
        context.begin(simulation.head(total=0))
        context.sample(simulation.sample(0))
        context.progress(0)
        return session.results(simulation, {})
