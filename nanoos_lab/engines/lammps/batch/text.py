"""The text of a whole input for the executable. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoos_lab.engines.lammps import inputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nanoos_lab.engines.lammps.parameters import LammpsMDParameters, LammpsRelaxParameters
    from nanoos_lab.engines.lammps.system import System

#: A file that has a run stop after its present step, once it is there.
STOP = "nanoos.stop"
#: The frames, and the last one with its forces.
FRAMES, FINAL = "frames.dump", "final.dump"
#: The restart file from which a run goes on.
BEGIN = "checkpoint.restart"
#: Beginning of the names of restart files on the way; the step follows.
ON_THE_WAY = "onward.restart"
#: The restart file at the end, while it is not known to be whole.
LAST = "restart.lammps.part"
#: Thermo keywords of the virial.
VIRIAL = " ".join(f"c_virial[{index}]" for index in range(1, 7))
#: Steps between two looks for the stop file; minimisers look at each.
_LOOK = 10
#: Rows of thermo are at most so many steps apart, if that divides the steps between samples.
_PULSE = 1000
#: Largest number of steps between outputs that LAMMPS knows.
_LARGEST = 2**31 - 1


def static(system: System, force_field: Sequence[str]) -> list[str]:
    """Return the commands of a single point."""
    return [*inputs.setup(system, force_field), *_columns(held=False), "run 0", *_end(system)]


def dynamics(
    system: System, force_field: Sequence[str], parameters: LammpsMDParameters, *, first: int, grid: int | None
) -> list[str]:
    """Return the commands of molecular dynamics.

    Parameters
    ----------
    system, force_field, parameters
        What is simulated, and how.
    first
        The step at which it begins: after 0 it goes on from the restart file `BEGIN`.
    grid
        Steps between restart files on the way; None for none.
    """
    return [
        *inputs.setup(system, force_field, BEGIN if first else None),
        *inputs.dynamics(system, parameters, first),
        *_columns(parameters.columns, held=bool(len(system.fixed))),
        *_halt(_LOOK),
        *_frames(parameters.every),
        *([f"restart {min(grid, _LARGEST)} {ON_THE_WAY}.*"] if grid else []),
        f"thermo {pulse(parameters.every)}",
        f"run {parameters.steps - first} start 0 stop {parameters.steps}",
        *_end(system),
    ]


def relaxation(system: System, force_field: Sequence[str], parameters: LammpsRelaxParameters, first: int) -> list[str]:
    """Return the commands of a relaxation that begins at step `first`; those of the minimiser decide by themselves."""
    minimise = _with_free_cell if parameters.cell == "free" else _with_fixed_cell
    return [
        *inputs.setup(system, force_field),
        *inputs.minimisation(system, parameters),
        f"reset_timestep {first}",
        "variable force atom sqrt(fx*fx+fy*fy+fz*fz)",
        "compute largest mobile reduce max v_force",
        *_columns(("c_largest", "pxx", "pyy", "pzz", "pxy", "pxz", "pyz"), held=bool(len(system.fixed))),
        *_halt(1),
        *_frames(parameters.every),
        f"variable left equal {parameters.steps}-step",
        *_measure(system, parameters),
        *inputs.minimiser(parameters.optimizer),
        *minimise(system, parameters),
        *_end(system),
    ]


def pulse(every: int) -> int:
    """Return the steps between rows of thermo: those between samples, or a part of them that shows progress."""
    if every <= _PULSE:
        return every
    part = next((size for size in range(_PULSE, _PULSE // 10, -1) if every % size == 0), every)
    return min(part, _LARGEST)


def _columns(more: Sequence[str] = (), *, held: bool) -> list[str]:
    lines = inputs.thermo_style(held, (*VIRIAL.split(), *more), "%.17g")
    return [*lines, "thermo_modify flush yes"]


def _halt(every: int) -> list[str]:
    halt = f"fix nanoos_stop all halt {every} v_nanoos_stop > 0 error continue message no"
    return [f"variable nanoos_stop equal is_file({STOP})", halt]


def _frames(every: int) -> list[str]:
    return [
        f"dump nanoos_frames all custom {min(every, _LARGEST)} {FRAMES} id xu yu zu vx vy vz",
        "dump_modify nanoos_frames sort id format float %.17g",
    ]


def _end(system: System) -> list[str]:
    charges = " q" if system.charged else ""
    return [
        f"write_dump all custom {FINAL} id xu yu zu vx vy vz fx fy fz{charges} modify sort id format float %.17g",
        f"write_restart {LAST}",
    ]


def _measure(system: System, parameters: LammpsRelaxParameters) -> list[str]:
    """Return the commands that define ``worst``: what is compared with `fmax`, in LAMMPS's unit of force."""
    lines = ["variable atomic equal c_largest"]
    if parameters.cell == "fixed":
        return [*lines, "variable worst equal v_atomic"]
    # Volume · stress / atoms, row by row; see `simulation.fmax_of_cell`.
    outer, factor = inputs.pressure(system, parameters.pressure), inputs.row_factor(system)
    rows = {
        "first": f"(pxx-({outer!r}))^2+pxy^2+pxz^2",
        "second": f"pxy^2+(pyy-({outer!r}))^2+pyz^2",
        "third": f"pxz^2+pyz^2+(pzz-({outer!r}))^2",
    }
    lines += [f"variable {name} equal sqrt({row})*{factor!r}*vol/atoms" for name, row in rows.items()]
    for name, one, other in (("two", "first", "second"), ("three", "two", "third"), ("worst", "three", "atomic")):
        lines.append(f"variable {name} equal {_either(f'v_{one}>v_{other}', f'v_{one}', f'v_{other}')}")
    return lines


def _either(condition: str, yes: str, no: str) -> str:
    """Return a formula for one of two finite values; conditions have 1 or 0, and older LAMMPS has no ``ternary``."""
    return f"({condition})*{yes}+(!({condition}))*{no}"


def _with_fixed_cell(system: System, parameters: LammpsRelaxParameters) -> list[str]:
    first = inputs.minimise(system, parameters, parameters.steps)
    if parameters.optimizer not in ("cg", "sd"):
        return [first]
    # Where a line search can no longer tell energies apart, forces still lead on.
    criterion = first.split()[2]
    again = f"minimize 0.0 {criterion} $(v_left:%.0f) $(50*v_left+50:%.0f)"
    going_on = f"$(v_worst:%.17g) > {criterion} && $(v_left) > 0 && $(v_nanoos_stop) == 0"
    return [first, f'if "{going_on}" then "min_style fire" "min_modify norm max" "{again}"']


def _with_free_cell(system: System, parameters: LammpsRelaxParameters) -> list[str]:
    criterion = inputs.minimise(system, parameters, 1).split()[2]
    done, renewed = '"jump SELF done"', inputs.RENEWED_AFTER
    return [
        f"variable chunk equal {_either(f'v_left<{renewed}', 'v_left', f'{renewed}')}",
        "variable turn loop 1000000000",
        "label turn",
        "variable before equal $(step)",
        f"minimize 0.0 {criterion} $(v_chunk:%.0f) $(50*v_chunk+50:%.0f)",
        f'if "$(v_worst:%.17g) <= {criterion}" then {done}',
        f'if "$(v_left) <= 0" then {done}',
        f'if "$(v_nanoos_stop) > 0" then {done}',
        f'if "$(step-v_before) == 0" then {done}',
        "next turn",
        "jump SELF turn",
        "label done",
    ]
