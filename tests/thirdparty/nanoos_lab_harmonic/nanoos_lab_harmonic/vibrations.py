"""The task ``vibrations``, to start one of your own from: normal modes, by any engine that lends its calculator."""

import numpy as np
from ase import units

from nanoos_lab.core.errors import StructureError
from nanoos_lab.core.frames import Results
from nanoos_lab.core.parameters import TaskParameters, field, joined
from nanoos_lab.engines.ase.measure import Meter
from nanoos_lab.engines.base import LendsCalculator, Task


class Vibrations(TaskParameters):
    """Frequencies of the normal modes, from central differences of the forces."""

    displacement: float = field(0.01, unit="Å", gt=0, le=0.5, doc="how far each atom is moved to either side")


class VibrationsTask(Task):
    """What nanoos_lab knows of the task; ``pyproject.toml`` names this class, and the task, as an entry point."""

    def parameters(self, engine):
        """Return its parameters: those of the engine's calculator and its own; None where it does not run."""
        return joined(engine.own, Vibrations) if isinstance(engine, LendsCalculator) else None

    def check(self, structure, parameters, engine, policy, files=None):
        """Refuse, in the user's cell, what could not work; return the input files, of which there are none."""
        if structure is None or any(structure.pbc):
            raise StructureError("task 'vibrations' needs a molecule: a structure that is not periodic")
        engine.check_calculator(structure, parameters, policy)
        return {}

    def run(self, request, context, engine):
        """Move each atom to either side, or until the context asks to stop; hand over modes with units of their own."""
        given = self.parameters(engine)(**request.parameters)
        atoms = request.structure.atoms()
        atoms.calc = engine.make(given, context)
        meter = Meter(atoms, given.label)
        context.begin(meter.head(total=3 * len(atoms)))
        context.sample(meter.sample(0, 0.0))
        rows = []
        for atom in range(len(atoms)):
            for axis in range(3):
                if context.stop is not None:
                    return Results(properties={}, structure=request.structure, stopped=True)
                rows.append(curvature(atoms, atom, axis, given.displacement))
                context.progress(len(rows))
        energies = quanta(np.array(rows), atoms.get_masses())
        return Results(
            properties={
                "energy": float(atoms.get_potential_energy()),
                "mode_energies": energies,
                "zero_point_energy": float(energies[energies > 0].sum() / 2),
            },
            units={"mode_energies": "eV", "zero_point_energy": "eV"},
            structure=request.structure,
        )


def curvature(atoms, atom, axis, displacement):
    """Return a row of the matrix of second derivatives in eV/Å²; the atoms are left where they were."""
    home, forces = atoms.positions[atom, axis], []
    for side in (1, -1):
        atoms.positions[atom, axis] = home + side * displacement
        forces.append(atoms.get_forces().ravel())
    atoms.positions[atom, axis] = home
    return (forces[1] - forces[0]) / (2 * displacement)


def quanta(hessian, masses):
    """Return the energies ħω of the modes in eV, ascending; an imaginary frequency counts as negative."""
    weights = np.repeat(masses, 3) ** -0.5
    squares = np.linalg.eigvalsh(weights[:, None] * 0.5 * (hessian + hessian.T) * weights)
    return np.sign(squares) * np.sqrt(np.abs(squares)) * units._hbar * units._e**-0.5 * 1e10 / np.sqrt(units._amu)
