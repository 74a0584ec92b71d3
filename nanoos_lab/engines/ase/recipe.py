"""How to get the numbers of a job with ASE alone: a short script. Pure text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoos_lab.core.errors import InputError
from nanoos_lab.engines.ase.parameters import (
    CalculatorParameters,
    DynamicsParameters,
    OptimizerParameters,
    SinglePointParameters,
)
from nanoos_lab.engines.base import STRUCTURE, Recipe

if TYPE_CHECKING:
    from nanoos_lab.core.parameters import TaskParameters

#: The script in the directory of a recipe.
SCRIPT = "run.py"
_NOTES = (
    "PYTHON names a Python with ASE, and with whatever brings the calculator.\n"
    "Of the same versions, on the same kind of processor, it gives the same numbers."
)
_START = """\
from ase.io import read
{imports}

atoms = read("{structure}")
atoms.calc = {name}({options})
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
_MD = """\
momenta = atoms.get_momenta()
moves = bool(momenta.any())
if not moves and {temperature!r} is not None:
    rng = np.random.default_rng({seed})
    spread = np.sqrt(atoms.get_masses() * units.kB * {temperature!r})[:, None]
    atoms.set_momenta(spread * rng.standard_normal((len(atoms), 3)))
if not moves and not atoms.constraints and len(atoms) > 1:
    masses, momenta = atoms.get_masses()[:, None], atoms.get_momenta()
    atoms.set_momenta(momenta - masses * momenta.sum(axis=0) / masses.sum())
dynamics = VelocityVerlet(atoms, {timestep!r} * units.fs)


def show():
    energies = atoms.get_potential_energy(), atoms.get_kinetic_energy()
    print("step", dynamics.nsteps, *map(repr, map(float, energies)), "eV")


dynamics.attach(show, interval={every})
dynamics.run({steps})
"""


def recipe(given: TaskParameters, path: str) -> Recipe:
    """Return how to get the numbers of a job.

    Parameters
    ----------
    given
        Its parameters.
    path
        The calculator's class, "module:Class".

    Raises
    ------
    InputError
        If there is no short script for such a task.
    """
    if not isinstance(given, CalculatorParameters):
        raise InputError(f"engine 'ase' has no recipe without nanoos_lab for {type(given).__name__}")
    lines, imports = _task(given)
    module, _, name = path.partition(":")
    options = ", ".join(f"{key}={value!r}" for key, value in given.options.items())
    start = _START.format(
        imports="\n".join([*imports, f"from {module} import {name}"]), structure=STRUCTURE, name=name, options=options
    )
    return Recipe(command=f'"${{PYTHON:-python3}}" {SCRIPT}', texts={SCRIPT: start + lines + _END}, notes=_NOTES)


def _task(given: TaskParameters) -> tuple[str, list[str]]:
    match given:
        case SinglePointParameters():
            return "", []
        case OptimizerParameters():
            imports = [f"from ase.optimize import {given.optimizer}"]
            if given.cell == "fixed":
                moved = "moved = atoms"
            else:
                imports = ["from ase import units", "from ase.filters import FrechetCellFilter", *imports]
                moved = f"moved = FrechetCellFilter(atoms, scalar_pressure={given.pressure!r} * units.GPa)"
            values = {"optimizer": given.optimizer, "fmax": given.fmax, "steps": given.steps}
            return _RELAX.format(moved=moved, **values), imports
        case DynamicsParameters(ensemble="nve"):
            names = ("temperature", "seed", "timestep", "every", "steps")
            imports = ["import numpy as np", "from ase import units", "from ase.md.verlet import VelocityVerlet"]
            return _MD.format(**{name: getattr(given, name) for name in names}), imports
    raise InputError(
        "engine 'ase' has recipes without nanoos_lab for static, relax, and md with ensemble='nve'; thermostats are "
        "set up in more lines than a script should have"
    )
