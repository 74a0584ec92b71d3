"""Molecular dynamics with ASE's integrators."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.nose_hoover_chain import NoseHooverChainThermostat
from ase.md.verlet import VelocityVerlet

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.frames import Results
from nanoos_lab.engines.ase import state
from nanoos_lab.engines.ase.calculators import calculating
from nanoos_lab.engines.ase.measure import Meter
from nanoos_lab.engines.blowup import Guard
from nanoos_lab.engines.drive import Course, drive
from nanoos_lab.engines.grid import Grid, resume
from nanoos_lab.engines.steering import Helm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ase import Atoms
    from ase.md.md import MolecularDynamics

    from nanoos_lab.core.frames import Sample
    from nanoos_lab.engines.ase.parameters import DynamicsParameters
    from nanoos_lab.engines.base import RunContext

    Heat = Callable[[float], None]


#: CPU seconds that ASE's integrators take at most, without a calculator, to end a run of steps and to begin another.
_HALT, _HALT_OF_ATOM = 5e-5, 3e-7


def run_md(atoms: Atoms, given: DynamicsParameters, context: RunContext) -> Results:
    """Run molecular dynamics.

    Parameters
    ----------
    atoms
        With their calculator; they are moved.
    given
        Ensemble and its parameters.
    context
        Takes the samples.

    Raises
    ------
    EngineError
        If the calculator fails, or the run has blown up.

    Notes
    -----
    Integrators:

    - nve: velocity Verlet;
    - nvt: stochastic velocity rescaling (Bussi, Donadio, Parrinello, J. Chem. Phys. 126, 014101, 2007),
      Langevin, or a Nosé-Hoover chain (Martyna, Klein, Tuckerman, J. Chem. Phys. 97, 2635, 1992);
    - npt: Langevin-Hoover for atoms and volume, the shape of the cell kept (Quigley, Probert, J. Chem. Phys.
      120, 11432, 2004).

    A run that goes on from a checkpoint on the grid is the uninterrupted one to the last bit, as long as the calculator
    has no memory but its neighbour list; one that goes on from where it was stopped, within rounding.

    A run that has blown up is stopped, not only at samples; see `nanoos_lab.engines.blowup`.

    The temperature is 2 E_kin / f k_B. f leaves out the centre of mass where its momentum stays zero: nve from
    rest, Bussi and Nosé-Hoover, all without constraints. Langevin forces act on it too, so there it counts.
    """
    helm = Helm(context, given)
    run = _Run(atoms, helm, context)
    origin = resume(context, lambda checkpoint: run.renew(checkpoint.directory, checkpoint.step))
    first = origin.step if origin else 0
    helm.begin(run, first)
    if origin is None:
        run.start()
    run.guard.expect(run.meter.temperature)
    grid = Grid(run, context, every=given.every, origin=origin, renew=run.renew, worth=state.WORTH)
    context.begin(replace(run.meter.head(total=given.steps), first=first))
    course = Course(steps=given.steps, every=given.every, first=first, dearest_halt=_HALT + _HALT_OF_ATOM * len(atoms))
    step = drive(run, course, context, grid, helm)
    return Results(
        properties=run.meter.properties(),
        structure=run.meter.structure(),
        provenance={"dynamics": run.integrator, "seed": given.seed, **grid.provenance},
        stopped=step < given.steps,
    )


def start_velocities(atoms: Atoms, given: DynamicsParameters, rng: np.random.Generator) -> None:
    """Draw Maxwell-Boltzmann velocities at the temperature if no atom moves yet.

    Without constraints the total momentum is set to zero, unless the structure moves and the ensemble is nve.
    The motion that is left has the temperature on average, over the degrees of freedom that are left.
    """
    moves = atoms.has("momenta") and bool(atoms.get_momenta().any())
    if not moves and given.temperature is not None:
        spread = np.sqrt(atoms.get_masses() * units.kB * given.temperature)[:, None]
        atoms.set_momenta(spread * rng.standard_normal((len(atoms), 3)))
    if not atoms.constraints and len(atoms) > 1 and not (moves and given.ensemble == "nve"):
        masses = atoms.get_masses()[:, None]
        momenta = atoms.get_momenta()
        atoms.set_momenta(momenta - masses * momenta.sum(axis=0) / masses.sum())


def degrees_of_freedom(atoms: Atoms, given: DynamicsParameters) -> int:
    """Return over how many degrees of freedom the kinetic energy is shared."""
    free = int(atoms.get_number_of_degrees_of_freedom())
    pushed = given.ensemble == "npt" or (given.ensemble == "nvt" and given.thermostat == "langevin")
    if pushed or atoms.constraints or len(atoms) == 1:
        return free
    momenta = atoms.get_momenta()
    at_rest = np.allclose(momenta.sum(axis=0), 0.0, atol=1e-8 * max(np.abs(momenta).sum(), 1.0))
    return free - 3 if at_rest else free


class _Run:
    """Atoms, integrator and temperature ramp as `drive` wants them, once they were started or renewed."""

    _dynamics: MolecularDynamics
    _heat: Heat
    _freedom: int
    _rng: np.random.Generator
    meter: Meter

    def __init__(self, atoms: Atoms, helm: Helm[DynamicsParameters], context: RunContext) -> None:
        self._atoms = atoms
        self._helm = helm
        self._leg = helm.at(0)
        self._context = context
        #: Ends a run that has blown up.
        self.guard = Guard(self._given.model_dump())

    @property
    def _given(self) -> DynamicsParameters:
        return self._leg.parameters

    def start(self) -> None:
        """Begin at step 0."""
        self._leg = self._helm.at(0)
        self._rng = np.random.default_rng(self._given.seed)
        start_velocities(self._atoms, self._given, self._rng)
        self._build(degrees_of_freedom(self._atoms, self._given), 0)

    def save(self, directory: Path) -> None:
        """Write atoms, random numbers and thermostat."""
        arrays = {
            "positions": self._atoms.arrays["positions"],
            "momenta": self._atoms.arrays["momenta"],
            "cell": self._atoms.cell.array,
        }
        values = {
            "freedom": self._freedom,
            "rng": self._rng.bit_generator.state,
            "thermostat": _thermostat(self._dynamics),
        }
        state.write(directory, arrays, values)

    def renew(self, directory: Path, step: int) -> None:
        """Begin where a checkpoint stands, with nothing else in mind: the calculator, too, forgets what it has seen.

        Save for what holds from this step on.
        """
        self._leg = self._helm.at(step)
        arrays, values = state.read(directory)
        rng = np.random.default_rng(self._given.seed)
        rng.bit_generator.state = values["rng"]
        momenta, freedom, thermostat = arrays["momenta"], int(values["freedom"]), values["thermostat"]
        state.place(self._atoms, arrays["positions"], arrays["cell"])
        self._atoms.set_array("momenta", momenta, float, (3,))
        state.forget(self._atoms.calc)
        self._rng = rng
        self._build(freedom, step)
        _set_thermostat(self._dynamics, thermostat)

    def _build(self, freedom: int, step: int) -> None:
        given = self._given
        self._freedom = freedom
        self.meter = Meter(self._atoms, given.label, freedom=freedom)
        self.guard.expect(given.temperature, given.temperature_end)
        with calculating(given.label):
            self._dynamics, self._heat = _integrator(self._atoms, given, freedom, self._rng)
        self._dynamics.nsteps = step
        if given.temperature is not None and given.temperature_end is not None:
            self._dynamics.attach(self._ramp, 1)
            if step:
                self._ramp()

    @property
    def integrator(self) -> str:
        """Name of ASE's integrator."""
        return type(self._dynamics).__name__

    def advance(self, steps: int) -> int:
        """Advance by so many steps; by fewer if a stop or a steering is asked for. Return how many were made."""
        before = self._dynamics.nsteps
        try:
            with calculating(self._given.label):
                for _ in self._dynamics.irun(steps):
                    if self._context.stop is not None or (self._dynamics.nsteps > before and self._helm.waiting):
                        break
        except EngineError:
            # A calculator may fail since the atoms have flown apart: then that is what to say.
            self.guard.check(self._dynamics.nsteps + 1, self.meter.temperature)
            raise
        self.guard.check(self._dynamics.nsteps, self.meter.temperature)
        return int(self._dynamics.nsteps - before)

    def sample(self, step: int) -> Sample:
        """Return thermo and frame."""
        return self.meter.sample(step, step * self._given.timestep)

    def glance(self, step: int) -> Sample:
        """Return thermo and frame."""
        return self.sample(step)

    def _ramp(self) -> None:
        self._heat(self._leg.target(self._dynamics.nsteps) or 0.0)


def _thermostat(dynamics: MolecularDynamics) -> dict[str, Any]:
    """Return what a thermostat or barostat remembers, besides its random numbers."""
    match dynamics:
        case NoseHooverChain(chain=chain):
            return {"eta": chain._eta.tolist(), "p_eta": chain._p_eta.tolist()}
        case LangevinBAOAB():
            # The force on the cell is not that of the atoms as they are: it was taken half a step earlier.
            return {"p_eps": float(dynamics.p_eps), "force_eps": float(dynamics.force_eps)}
        case Bussi():
            return {"transferred_energy": float(dynamics.transferred_energy)}
    return {}


def _set_thermostat(dynamics: MolecularDynamics, values: Mapping[str, Any]) -> None:
    match dynamics:
        case NoseHooverChain(chain=chain):
            chain._eta[:] = values["eta"]
            chain._p_eta[:] = values["p_eta"]
        case LangevinBAOAB():
            dynamics.p_eps, dynamics.force_eps = values["p_eps"], values["force_eps"]
        case Bussi():
            dynamics.transferred_energy = values["transferred_energy"]


class NoseHooverChain(VelocityVerlet):
    """Velocity Verlet between two half steps of ASE's Nosé-Hoover chain.

    ASE's own `NoseHooverChainNVT` counts three degrees of freedom for every atom, which makes atoms whose
    centre of mass is at rest too hot by a factor N / (N − 1), and overrides constraints.

    Parameters
    ----------
    atoms, timestep
        As in `VelocityVerlet`.
    thermostat
        The chain.
    """

    def __init__(self, atoms: Atoms, timestep: float, thermostat: NoseHooverChainThermostat) -> None:
        super().__init__(atoms, timestep)
        self.chain = thermostat

    def step(self, forces: Any = None) -> Any:
        """Make one step; return the forces at its end."""
        self._scale()
        forces = super().step(forces)  # type: ignore[no-untyped-call]
        self._scale()
        return forces

    def _scale(self) -> None:
        momenta = self.chain.integrate_nhc(self.atoms.get_momenta(), self.dt / 2)
        self.atoms.set_momenta(momenta)


def _integrator(
    atoms: Atoms, given: DynamicsParameters, freedom: int, rng: np.random.Generator
) -> tuple[MolecularDynamics, Heat]:
    """Return ASE's integrator, and what sets the temperature of its thermostat."""
    if given.ensemble == "nve" or given.temperature is None:
        return VelocityVerlet(atoms, given.timestep * units.fs), _no_thermostat
    if given.ensemble == "npt" and given.pressure is not None:
        return _langevin_hoover(atoms, given, given.temperature, given.pressure, rng)
    return _THERMOSTATS[given.thermostat](atoms, given, given.temperature, freedom, rng)


def _no_thermostat(kelvin: float) -> None:
    """Ignore a temperature that nothing keeps."""


def _bussi(
    atoms: Atoms, given: DynamicsParameters, temperature: float, freedom: int, rng: np.random.Generator
) -> tuple[MolecularDynamics, Heat]:
    timestep, damping = given.timestep * units.fs, given.tdamp * units.fs
    dynamics = Bussi(atoms, timestep, temperature_K=temperature, taut=damping, rng=rng)
    dynamics.ndof = freedom

    def heat(kelvin: float) -> None:
        dynamics.target_kinetic_energy = 0.5 * freedom * units.kB * kelvin

    heat(temperature)
    return dynamics, heat


def _langevin(
    atoms: Atoms, given: DynamicsParameters, temperature: float, freedom: int, rng: np.random.Generator
) -> tuple[MolecularDynamics, Heat]:
    timestep, friction = given.timestep * units.fs, 1 / (given.tdamp * units.fs)
    dynamics = Langevin(atoms, timestep, temperature_K=temperature, friction=friction, fixcm=False, rng=rng)
    return dynamics, lambda kelvin: dynamics.set_temperature(temperature_K=kelvin)


def _nose_hoover(
    atoms: Atoms, given: DynamicsParameters, temperature: float, freedom: int, rng: np.random.Generator
) -> tuple[MolecularDynamics, Heat]:
    # It is told the number of atoms and uses only three times that, so a part of an atom is as good.
    thermostat = NoseHooverChainThermostat(
        num_atoms_global=freedom / 3,  # type: ignore[arg-type]
        masses=atoms.get_masses()[:, None],
        temperature_K=temperature,
        tdamp=given.tdamp * units.fs,
    )
    return NoseHooverChain(atoms, given.timestep * units.fs, thermostat), _no_thermostat


_THERMOSTATS = {"bussi": _bussi, "langevin": _langevin, "nose-hoover": _nose_hoover}


def _langevin_hoover(
    atoms: Atoms, given: DynamicsParameters, temperature: float, pressure: float, rng: np.random.Generator
) -> tuple[MolecularDynamics, Heat]:
    """Return the integrator of the npt ensemble.

    The barostat's mass is that of Martyna, Tobias and Klein (J. Chem. Phys. 101, 4177, 1994):
    (f + 3) k_B T pdamp².
    """
    pdamp = given.pdamp * units.fs
    dynamics = LangevinBAOAB(
        atoms,
        given.timestep * units.fs,
        temperature_K=temperature,
        externalstress=-pressure * units.GPa,
        hydrostatic=True,
        T_tau=given.tdamp * units.fs,
        P_tau=pdamp,
        P_mass=(3 * len(atoms) + 3) * units.kB * temperature * pdamp**2,
        rng=rng,
    )
    return dynamics, dynamics.set_temperature
