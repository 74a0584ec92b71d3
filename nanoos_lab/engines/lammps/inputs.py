"""The text of LAMMPS's input: a data file and commands. Pure; nothing here touches LAMMPS or the disk.

Units are LAMMPS's ``metal``: Å, ps, eV, bar (manual, page ``units``).
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nanoos_lab.core.parameters import MDParameters
    from nanoos_lab.engines.lammps.parameters import LammpsRelaxParameters
    from nanoos_lab.engines.lammps.system import System

#: Name of the data file in the working directory.
DATA_FILE = "structure.data"
#: Columns of LAMMPS's log.
THERMO = "step temp pe ke etotal press vol"

_FS = 1e-3
_GPA = 1e4


def data_file(system: System, *, masses: bool = False, skewed: bool = False) -> str:
    """Return the text of a data file, ``atom_style atomic``, exact to the last bit.

    Parameters
    ----------
    system
        What to write.
    masses
        Whether to write the masses too: for users' scripts. Where commands set them they are left out.
    skewed
        Whether the box must be able to skew, even if it is orthogonal now.
    """
    box = system.box
    lines = [f"{system.atoms.get_chemical_formula()}, written by nanoos_lab", ""]
    lines += [f"{len(system.atoms)} atoms", f"{len(system.symbols)} atom types", ""]
    for axis, name in enumerate("xyz"):
        low, high = box.origin[axis], box.origin[axis] + box.cell[axis, axis]
        lines.append(f"{low:.17g} {high:.17g} {name}lo {name}hi")
    tilt = (box.cell[1, 0], box.cell[2, 0], box.cell[2, 1])
    if skewed or any(tilt):
        lines.append("{:.17g} {:.17g} {:.17g} xy xz yz".format(*tilt))
    if masses:
        lines += ["", "Masses", ""]
        lines += [f"{number} {mass!r}" for number, mass in enumerate(system.masses, start=1)]
    lines += ["", "Atoms # atomic", ""]
    atoms = zip(system.types.tolist(), system.positions.tolist(), strict=True)
    lines += [f"{i} {kind} {x:.17g} {y:.17g} {z:.17g}" for i, (kind, (x, y, z)) in enumerate(atoms, start=1)]
    if system.velocities is not None:
        lines += ["", "Velocities", ""]
        velocities = system.velocities.tolist()
        lines += [f"{i} {x:.17g} {y:.17g} {z:.17g}" for i, (x, y, z) in enumerate(velocities, start=1)]
    return "\n".join(lines) + "\n"


def setup(system: System, force_field: Sequence[str], restart: str | None = None) -> list[str]:
    """Return the commands up to the force field; atoms come from a restart file, if there is one."""
    boundary = " ".join("p" if periodic else "m" for periodic in system.box.pbc)
    return [
        "units metal",
        "atom_style atomic",
        "atom_modify map array",
        f"boundary {boundary}",
        f"read_restart {restart}" if restart else f"read_data {DATA_FILE}",
        *force_field,
        # After the force field: potential files bring masses of their own.
        *(f"mass {number} {mass!r}" for number, mass in enumerate(system.masses, start=1)),
        f"thermo_style custom {THERMO}",
        "thermo_modify norm no format float %.10g",
        "compute virial all pressure NULL virial",
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


def dynamics(system: System, parameters: MDParameters, *, resumed: bool = False) -> list[str]:
    """Return the commands of molecular dynamics, up to the run; velocities are there already if it is resumed.

    The fixes find their state in the restart file by their names and styles.
    """
    lines = [*hold_fixed(system), f"timestep {parameters.timestep * _FS!r}"]
    if system.velocities is None and parameters.temperature and not resumed:
        lines.append(
            f"velocity mobile create {parameters.temperature!r} {parameters.seed} "
            f"mom {'no' if len(system.fixed) else 'yes'} rot no dist gaussian loop all"
        )
    lines.append(_integrator(parameters))
    if len(system.fixed) and parameters.ensemble != "nve":
        lines.append("fix_modify integrate temp mobile_temp")
    return lines


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
        lines.append(f"fix cell all box/relax tri {parameters.pressure * _GPA!r} vmax 0.001 nreset 10")
    return lines


def minimiser(style: str) -> list[str]:
    """Return the commands that choose a minimiser; its criterion is the largest force on an atom, as ASE's fmax."""
    return [f"min_style {style}", "min_modify norm max"]


def _integrator(parameters: MDParameters) -> str:
    line = f"fix integrate mobile {parameters.ensemble}"
    if parameters.ensemble != "nve":
        end = parameters.temperature_end
        first, last = parameters.temperature, parameters.temperature if end is None else end
        line += f" temp {first!r} {last!r} {parameters.tdamp * _FS!r}"
    if parameters.pressure is not None:
        bar = parameters.pressure * _GPA
        line += f" iso {bar!r} {bar!r} {parameters.pdamp * _FS!r}"
    return line


def _ranges(indices: Iterable[int]) -> str:
    """Return LAMMPS's ids for indices from 0, with runs as ``first:last``."""
    words = []
    for _, group in groupby(enumerate(indices), key=lambda pair: pair[1] - pair[0]):
        ids = [index + 1 for _, index in group]
        words.append(f"{ids[0]}:{ids[-1]}" if len(ids) > 1 else f"{ids[0]}")
    return " ".join(words)
