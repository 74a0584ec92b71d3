"""The text of LAMMPS's input: a data file and commands. Pure; nothing here touches LAMMPS or the disk.

Units are those of the system: Å, and with ``metal`` ps, eV, bar, with ``real`` fs, kcal/mol, atm (manual, page
``units``).
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from ase import units

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nanoos_lab.engines.lammps.parameters import (
        LammpsMDParameters,
        LammpsRelaxParameters,
        PotentialParameters,
    )
    from nanoos_lab.engines.lammps.system import System

#: Name of the data file in the working directory.
DATA_FILE = "structure.data"
#: Columns of LAMMPS's log.
THERMO = "step temp pe ke etotal press vol"
#: The compute of the stress without its kinetic part.
VIRIAL = "compute virial all pressure NULL virial"
#: With a free cell a minimiser is started anew after so many iterations, since it measures strain from the cell at its
#: start (manual, ``fix box/relax``).
RENEWED_AFTER = 100
#: LAMMPS's axis for each cell vector of an orthogonal cell.
_AXES = {"a": "x", "b": "y", "c": "z"}
#: Criterion (in eV/Å) and steps of the minimisation before the first step of dynamics.
_CALM_FORCE, _CALM_STEPS = 0.5, 200
#: Number of seeds.
_SEEDS = 900_000_000


def data_file(system: System, *, masses: bool = False, skewed: bool = False) -> str:
    """Return the text of a data file, exact to the last bit.

    Parameters
    ----------
    system
        What to write.
    masses
        Whether to write the masses too: for users' scripts. Where commands set them they are left out.
    skewed
        Whether the box must be able to skew, even if it is orthogonal now.
    """
    lines = [f"{system.atoms.get_chemical_formula()}, written by nanoos_lab", ""]
    lines += [*_counts(system), "", *_box(system, skewed=skewed)]
    if masses:
        lines += ["", "Masses", ""]
        lines += [f"{number} {mass!r}" for number, mass in enumerate(system.masses, start=1)]
    lines += ["", f"Atoms # {system.atom_style}", ""]
    atoms = zip(_words(system), system.positions.tolist(), strict=True)
    lines += [f"{i} {words} {x:.17g} {y:.17g} {z:.17g}" for i, (words, (x, y, z)) in enumerate(atoms, start=1)]
    if system.velocities is not None:
        lines += ["", "Velocities", ""]
        velocities = system.velocities.tolist()
        lines += [f"{i} {x:.17g} {y:.17g} {z:.17g}" for i, (x, y, z) in enumerate(velocities, start=1)]
    for name, rows in system.data.connections.items() if system.data else ():
        lines += ["", name, "", *rows]
    return "\n".join(lines) + "\n"


def _counts(system: System) -> Sequence[str]:
    if system.data:
        return system.data.header
    return [f"{len(system.atoms)} atoms", f"{len(system.symbols)} atom types"]


def _box(system: System, *, skewed: bool) -> list[str]:
    box = system.box
    ends = zip("xyz", box.origin, box.origin + np.diagonal(box.cell), strict=True)
    lines = [f"{low:.17g} {high:.17g} {name}lo {name}hi" for name, low, high in ends]
    tilt = (box.cell[1, 0], box.cell[2, 0], box.cell[2, 1])
    if skewed or any(tilt):
        lines.append("{:.17g} {:.17g} {:.17g} xy xz yz".format(*tilt))
    return lines


def _words(system: System) -> Sequence[str]:
    """Return what stands between id and position of each atom."""
    if system.data:
        return system.data.atoms(system.atom_style)[1]
    if not system.charged:
        return [str(kind) for kind in system.types.tolist()]
    pairs = zip(system.types.tolist(), system.charges.tolist(), strict=True)
    return [f"{kind} {charge:.17g}" for kind, charge in pairs]


def skews(parameters: PotentialParameters) -> bool:
    """Whether the box must be able to skew with these parameters, even if it is orthogonal at first."""
    return getattr(parameters, "cell", "fixed") == "free" or getattr(parameters, "barostat", "iso") == "tri"


def setup(system: System, force_field: Sequence[str], restart: str | None = None) -> list[str]:
    """Return the commands up to the force field; atoms come from a restart file, if there is one."""
    boundary = " ".join("p" if periodic else "m" for periodic in system.box.pbc)
    return [
        f"units {system.unit_system}",
        f"atom_style {system.atom_style}",
        "atom_modify map array",
        f"boundary {boundary}",
        f"read_restart {restart}" if restart else f"read_data {DATA_FILE}",
        *force_field,
        # After the force field: potential files bring masses of their own.
        *(f"mass {number} {mass!r}" for number, mass in enumerate(system.masses, start=1)),
        f"thermo_style custom {THERMO}",
        "thermo_modify norm no format float %.10g",
        VIRIAL,
    ]


def hold_fixed(system: System) -> list[str]:
    """Return the commands that make groups ``fixed`` and ``mobile`` and hold the former."""
    if not len(system.fixed):
        return ["group mobile union all"]
    return [
        f"group fixed id {_ranges(system.fixed.tolist())}",
        "group mobile subtract all fixed",
        "velocity fixed set 0 0 0",
        "fix hold fixed setforce 0 0 0",
        "compute mobile_temp mobile temp",
        # The held atoms take up momentum, so the centre of mass is free to move.
        "compute_modify mobile_temp extra/dof 0",
        "thermo_modify temp mobile_temp",
    ]


def dynamics(system: System, parameters: LammpsMDParameters, first: int = 0) -> list[str]:
    """Return the commands of molecular dynamics, up to the run.

    Parameters
    ----------
    system, parameters
        What is simulated, and how.
    first
        The step at which it begins. After 0 it goes on from a restart file, where velocities are, and in which the
        fixes find their state by their names and styles.
    """
    resumed = first > 0
    held, langevin = bool(len(system.fixed)), parameters.thermostat == "langevin"
    lines = [*hold_fixed(system), *_calm(system, parameters, resumed=resumed)]
    if langevin and not held:
        # Its random forces move the centre of mass too, so that it has a temperature.
        lines.append("compute_modify thermo_temp extra/dof 0")
    lines.append(f"timestep {parameters.timestep / system.units.time!r}")
    if system.velocities is None and parameters.temperature and not resumed:
        free = held or langevin
        lines.append(
            f"velocity mobile create {parameters.temperature!r} {parameters.seed} mom {'no' if free else 'yes'} rot no "
            f"dist gaussian loop all temp {'mobile_temp' if held else 'thermo_temp'}"
        )
    lines += _integrator(system, parameters, first)
    if held and parameters.ensemble != "nve":
        lines.append(f"fix_modify {'bath' if langevin else 'integrate'} temp mobile_temp")
    lines += parameters.commands
    if parameters.columns:
        lines += thermo_style(held, parameters.columns)
    return lines


def thermo_style(held: bool, more: Sequence[str], form: str = "%.10g") -> list[str]:
    """Return the commands that have LAMMPS print more columns; `held` if `hold_fixed` has defined a temperature."""
    lines = [f"thermo_style custom {THERMO} {' '.join(more)}", f"thermo_modify norm no format float {form}"]
    # A new style forgets what was modified.
    return [*lines, "thermo_modify temp mobile_temp"] if held else lines


def _calm(system: System, parameters: LammpsMDParameters, *, resumed: bool) -> list[str]:
    """Return the commands that take the largest forces off the structure before the first step."""
    if resumed or not parameters.minimize_first:
        return []
    force = _CALM_FORCE / _force(system)
    return [*minimiser("cg"), f"minimize 0.0 {force!r} {_CALM_STEPS} {10 * _CALM_STEPS}", "reset_timestep 0"]


def _force(system: System) -> float:
    """Return eV/Å in LAMMPS's unit of force."""
    return (system.units.energy or 1.0) / system.units.length


def pressure(system: System, gigapascals: float) -> float:
    """Return a pressure in LAMMPS's unit."""
    return gigapascals / (system.units.pressure or 1.0)


def row_factor(system: System) -> float:
    """Return what LAMMPS's pressure times a volume in Å³ is multiplied with to be an energy in its unit."""
    return (system.units.pressure or 1.0) * units.GPa / (system.units.energy or 1.0)


def minimisation(system: System, parameters: LammpsRelaxParameters) -> list[str]:
    """Return the commands of a relaxation, up to the minimiser."""
    lines = [
        *hold_fixed(system),
        # Velocities have no part in it, and would show in temperature and pressure.
        "velocity all set 0 0 0",
        f"thermo_style custom {THERMO} pxx pyy pzz pxy pxz pyz",
        "thermo_modify norm no format float %.10g",
        "thermo 1",
    ]
    if parameters.cell == "free":
        lines.append(f"fix cell all box/relax tri {pressure(system, parameters.pressure)!r} vmax 0.001 nreset 10")
    return lines


def minimiser(style: str) -> list[str]:
    """Return the commands that choose a minimiser; its criterion is the largest force on an atom, as ASE's fmax."""
    return [f"min_style {style}", "min_modify norm max"]


def minimise(system: System, parameters: LammpsRelaxParameters, steps: int) -> str:
    """Return the command that relaxes for so many steps at most."""
    return f"minimize 0.0 {parameters.fmax / _force(system)!r} {steps} {50 * steps + 50}"


def _integrator(system: System, parameters: LammpsMDParameters, begin: int) -> list[str]:
    time = system.units.time
    first = parameters.temperature
    last = first if parameters.temperature_end is None else parameters.temperature_end
    bath = f"{first!r} {last!r} {parameters.tdamp / time!r}"
    lines = []
    if parameters.thermostat == "langevin":
        # The state of its random numbers is in no restart file: another seed, lest they come again from the start.
        seed = (parameters.seed + begin) % _SEEDS + 1 if begin else parameters.seed
        lines = ["fix integrate mobile nve", f"fix bath mobile langevin {bath} {seed}"]
    else:
        line = f"fix integrate mobile {parameters.ensemble}"
        if parameters.ensemble != "nve":
            line += f" temp {bath}"
        lines = [line + _barostat(system, parameters)]
    if parameters.strain_rate:
        # In LAMMPS's units of time; the box is what strains, and the atoms are carried along.
        lines.append(
            f"fix strain all deform 1 {_AXES[parameters.strain_axis]} erate {parameters.strain_rate * time / 1e3!r}"
        )
    return lines


def _barostat(system: System, parameters: LammpsMDParameters) -> str:
    if parameters.pressure is None:
        return ""
    held = pressure(system, parameters.pressure)
    words = f"{held!r} {held!r} {parameters.pdamp / system.units.time!r}"
    if not parameters.strain_rate:
        return f" {parameters.barostat} {words}"
    free = (axis for vector, axis in _AXES.items() if vector != parameters.strain_axis)
    return "".join(f" {axis} {words}" for axis in free)


def _ranges(indices: Iterable[int]) -> str:
    """Return LAMMPS's ids for indices from 0, with runs as ``first:last``."""
    words = []
    for _, group in groupby(enumerate(indices), key=lambda pair: pair[1] - pair[0]):
        ids = [index + 1 for _, index in group]
        words.append(f"{ids[0]}:{ids[-1]}" if len(ids) > 1 else f"{ids[0]}")
    return " ".join(words)
