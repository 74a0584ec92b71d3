"""The text of pw.x's input. Pure: nothing here touches the program or the disk.

Keywords: https://www.quantum-espresso.org/Doc/INPUT_PW.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from ase import units

from nanoos_lab.core.errors import ParameterError
from nanoos_lab.engines import constraints, kpoints
from nanoos_lab.engines.espresso import keywords
from nanoos_lab.engines.espresso.parameters import (
    DEGAUSS,
    KSPACING,
    EspressoGammaPhononsParameters,
    EspressoMDParameters,
    EspressoParameters,
    EspressoRelaxParameters,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ase import Atoms

    from nanoos_lab.engines.espresso.keywords import Namelists, Value
    from nanoos_lab.engines.espresso.pseudos import Cutoffs, Pseudo

    Array = np.ndarray[Any, Any]

#: The first word of the names of all files that pw.x writes.
PREFIX = "pwscf"
#: Directories in the working directory: what pw.x writes for itself, and the pseudopotentials.
OUTDIR, PSEUDO_DIR = "out", "pseudo"
#: pw.x's unit of time in units of fs: Rydberg's.
TIME = 2 * units.AUT / units.fs

_RY_PER_BOHR = units.Ry / units.Bohr
_KBAR = 0.1 * units.GPa


@dataclass(frozen=True, kw_only=True)
class Start:
    """How a run begins, where it is not the first."""

    #: SCF cycles that are left; None for all.
    cycles: int | None = None
    #: Whether pw.x finds its own restart files.
    restart: bool = False
    #: Keywords besides those of the task, by namelist, for a second run on the density of the first.
    keywords: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    #: Lines of the card with the k-points; none for those of the task.
    kpoints: tuple[str, ...] = ()
    #: Velocities for dynamics in Å/fs, shape (atoms, 3); None for those of the structure.
    velocities: Array | None = None


@dataclass(frozen=True, kw_only=True)
class Species:
    """Atoms of one element, one initial magnetic moment and one mass."""

    #: Its name in the input.
    label: str
    #: Chemical symbol.
    symbol: str
    #: Initial magnetic moment, in Bohr magnetons; its size, if it has a direction.
    magmom: float
    #: Polar and azimuthal angle of the moment in degrees; None where all are along one axis.
    direction: tuple[float, float] | None
    #: Mass, in u.
    mass: float


def write_inputs(
    atoms: Atoms,
    parameters: EspressoParameters,
    pseudos: Mapping[str, Pseudo],
    cutoffs: Cutoffs | None,
    start: Start | None = None,
) -> str:
    """Return the text of the input.

    Parameters
    ----------
    atoms
        The structure.
    parameters
        The task's.
    pseudos
        Pseudopotential by element.
    cutoffs
        What their family recommends, if it does.
    start
        How the run begins, if it goes on from an earlier one.

    Raises
    ------
    InputError
        If structure, parameters and pseudopotentials do not go together.
    """
    start = start or Start()
    kinds, of_atoms = species(atoms)
    labels = [kinds[index].label for index in of_atoms]
    velocities = _velocities(atoms, start) if isinstance(parameters, EspressoMDParameters) else None
    namelists = {
        "control": _control(parameters, start),
        "system": _system(atoms, parameters, pseudos, cutoffs, kinds),
        "electrons": _electrons(parameters),
        **_motion(atoms, parameters, start, from_input=velocities is not None),
    }
    blocks = [
        keywords.text(keywords.merged(keywords.merged(namelists, parameters.input), start.keywords)),
        "ATOMIC_SPECIES",
        *(f"{kind.label} {kind.mass:.6f} {pseudo_file(kind.symbol)}" for kind in kinds),
        *(start.kpoints or _kpoints(atoms, parameters)),
        "CELL_PARAMETERS angstrom",
        *(_vector(row) for row in atoms.cell.array),
        "ATOMIC_POSITIONS angstrom",
        *_positions(atoms, labels),
        *([] if velocities is None else _velocity_card(velocities, labels)),
    ]
    return "\n".join(blocks) + "\n"


def pseudo_file(symbol: str) -> str:
    """Return the name that an element's pseudopotential has for pw.x, whatever the user's file is called."""
    return f"{symbol}.upf"


def mesh(atoms: Atoms, parameters: EspressoParameters) -> tuple[int, int, int] | None:
    """Return the divisions of the mesh of k-points; None for Γ alone.

    Raises
    ------
    ParameterError
        If a structure that is not periodic is to have k-points.
    """
    if not atoms.pbc.any():
        for name in ("kpts", "kspacing"):
            value = getattr(parameters, name)
            if value not in (None, (1, 1, 1)):
                raise ParameterError(name, value, "none for a structure that is not periodic, which has only Γ")
        return None
    if parameters.kpts is not None:
        divisions = parameters.kpts
        for axis, periodic in enumerate(atoms.pbc):
            if not periodic and divisions[axis] > 1:
                raise ParameterError("kpts", divisions, f"1 along axis {axis}, in which the structure is not periodic")
        return divisions
    return kpoints.mesh(atoms.cell.array, atoms.pbc.tolist(), parameters.kspacing or KSPACING)


def species(atoms: Atoms) -> tuple[list[Species], list[int]]:
    """Return the kinds of atoms, by element, initial magnetic moment and mass, and the kind of each atom."""
    moments = atoms.get_initial_magnetic_moments()
    masses = atoms.get_masses()
    found: dict[tuple[str, object, float], int] = {}
    kinds: list[Species] = []
    of_atoms = []
    for symbol, moment, mass in zip(atoms.symbols, moments.tolist(), masses.tolist(), strict=True):
        key = (symbol, _rounded(moment), round(mass, 6))
        if key not in found:
            found[key] = len(kinds)
            count = sum(kind.symbol == symbol for kind in kinds)
            label = f"{symbol}{count}" if count else symbol
            size, direction = _polar(moment)
            kinds.append(Species(label=label, symbol=symbol, magmom=size, direction=direction, mass=mass))
        of_atoms.append(found[key])
    return kinds, of_atoms


def _rounded(moment: float | list[float]) -> object:
    return tuple(round(each, 6) for each in moment) if isinstance(moment, list) else round(moment, 6)


def _polar(moment: float | list[float]) -> tuple[float, tuple[float, float] | None]:
    """Return size and direction of a moment: a number is along the z axis, and may be negative."""
    if not isinstance(moment, list):
        return round(moment, 6), None
    x, y, z = moment
    size = math.hypot(x, y, z)
    return round(size, 6), (math.degrees(math.atan2(math.hypot(x, y), z)), math.degrees(math.atan2(y, x)))


def noncollinear(atoms: Atoms, parameters: EspressoParameters) -> bool:
    """Say whether spins may point anywhere: where moments are vectors, or spin and orbit are coupled."""
    return parameters.soc or atoms.get_initial_magnetic_moments().ndim > 1


def set_in_motion(atoms: Atoms, parameters: EspressoParameters) -> None:
    """Draw velocities for dynamics, by Maxwell's distribution, if it has a temperature and no atom moves yet."""
    if not isinstance(parameters, EspressoMDParameters) or not parameters.temperature or atoms.get_momenta().any():
        return
    spread = np.sqrt(atoms.get_masses() * units.kB * parameters.temperature)[:, None]
    atoms.set_momenta(spread * np.random.default_rng(parameters.seed).standard_normal((len(atoms), 3)))
    if free_components(atoms).all():
        masses = atoms.get_masses()[:, None]
        atoms.set_momenta(atoms.get_momenta() - masses * atoms.get_momenta().sum(axis=0) / masses.sum())


def electrons(atoms: Atoms, parameters: EspressoParameters, pseudos: Mapping[str, Pseudo]) -> float:
    """Return the number of valence electrons in the cell."""
    return sum(pseudos[symbol].header.valence for symbol in atoms.symbols) - parameters.charge


# -- the namelists -----------------------------------------------------------------------------------------------------


def _control(parameters: EspressoParameters, start: Start) -> dict[str, Value]:
    values: dict[str, Value] = {
        "calculation": calculation(parameters),
        "prefix": PREFIX,
        "outdir": OUTDIR,
        "pseudo_dir": PSEUDO_DIR,
        "restart_mode": "restart" if start.restart else "from_scratch",
        "tprnfor": True,
        "tstress": True,
    }
    if isinstance(parameters, EspressoRelaxParameters):
        # The steps of the optimiser lie between the SCF cycles, which pw.x counts, from 1 in each run.
        values["nstep"] = parameters.steps + 1 if start.cycles is None else start.cycles
        # pw.x compares each component; so the largest force is met, too. The energy has no say in it.
        values["forc_conv_thr"] = parameters.fmax / math.sqrt(3) / _RY_PER_BOHR
        values["etot_conv_thr"] = 1.0
    if isinstance(parameters, EspressoMDParameters):
        values["nstep"] = parameters.steps + 1 if start.cycles is None else start.cycles
        values["dt"] = parameters.timestep / TIME
    return values


def calculation(parameters: EspressoParameters) -> str:
    """Return pw.x's word for the task."""
    if isinstance(parameters, EspressoRelaxParameters):
        return "vc-relax" if parameters.cell == "free" else "relax"
    return "md" if isinstance(parameters, EspressoMDParameters) else "scf"


def _system(
    atoms: Atoms,
    parameters: EspressoParameters,
    pseudos: Mapping[str, Pseudo],
    cutoffs: Cutoffs | None,
    kinds: list[Species],
) -> dict[str, Value]:
    wfc, rho = _cutoffs(parameters, cutoffs, pseudos)
    values: dict[str, Value] = {"ibrav": 0, "nat": len(atoms), "ntyp": len(kinds), "ecutwfc": wfc}
    if rho is not None:
        values["ecutrho"] = rho
    if parameters.charge:
        values["tot_charge"] = parameters.charge
    if parameters.nbnd is not None:
        values["nbnd"] = parameters.nbnd
    values |= _occupations(parameters)
    if isinstance(parameters, EspressoMDParameters) and atoms.get_momenta().any():
        # The atoms move out of the symmetry of where they begin. Later attempts have the same structure, so the same.
        values["nosym"] = True
    return values | _spins(atoms, parameters, pseudos, kinds)


def _spins(
    atoms: Atoms, parameters: EspressoParameters, pseudos: Mapping[str, Pseudo], kinds: list[Species]
) -> dict[str, Value]:
    """Return what of the input says where spins point at the beginning, and where they may."""
    vectors = noncollinear(atoms, parameters)
    values: dict[str, Value] = {"noncolin": True, "lspinorb": parameters.soc} if vectors else {}
    if not any(kind.magmom for kind in kinds):
        return values
    if not vectors:
        values["nspin"] = 2
    for number, kind in enumerate(kinds, start=1):
        share = kind.magmom / pseudos[kind.symbol].header.valence
        values[f"starting_magnetization({number})"] = max(-1.0, min(1.0, share))
        if kind.direction is not None:
            values[f"angle1({number})"], values[f"angle2({number})"] = kind.direction
    return values


def _cutoffs(
    parameters: EspressoParameters, cutoffs: Cutoffs | None, pseudos: Mapping[str, Pseudo]
) -> tuple[float, float | None]:
    wfc, rho = parameters.ecutwfc, parameters.ecutrho
    if wfc is None:
        if cutoffs is None:
            hint = _suggested({one.name: one.header.cutoff_wfc for one in pseudos.values()})
            raise ParameterError("ecutwfc", None, f"a cut-off in Ry, since no table recommends one{hint}")
        wfc, rho = cutoffs.wfc, cutoffs.rho
    elif rho is None and cutoffs is not None and cutoffs.rho is not None:
        # The density needs what the table says, however few plane waves the wave functions have.
        rho = max(cutoffs.rho, wfc * cutoffs.rho / cutoffs.wfc)
    augmented = {one.name: one.header.cutoff_rho for one in pseudos.values() if one.header.augmented}
    if rho is None and augmented:
        raise ParameterError(
            "ecutrho",
            None,
            "a cut-off of the density in Ry, as a rule 8 to 12 times ecutwfc, since no table recommends one for "
            f"{', '.join(augmented)}, ultrasoft or PAW{_suggested(augmented)}",
        )
    return wfc, rho


def _suggested(values: Mapping[str, float | None]) -> str:
    said = [f"{name} {value:g}" for name, value in values.items() if value]
    return f"; the files suggest, in Ry: {', '.join(said)}" if said else ""


def _occupations(parameters: EspressoParameters) -> dict[str, Value]:
    if parameters.smearing is None:
        return {}
    if parameters.smearing == "tetrahedra":
        return {"occupations": "tetrahedra_opt"}
    return {
        "occupations": "smearing",
        "smearing": parameters.smearing,
        "degauss": parameters.degauss or DEGAUSS,
    }


def _electrons(parameters: EspressoParameters) -> dict[str, Value]:
    return {
        "conv_thr": parameters.conv_thr,
        "electron_maxstep": parameters.scf_iterations,
        "mixing_beta": parameters.mixing_beta,
        "diagonalization": parameters.diagonalization,
    }


def _drawn(atoms: Atoms, parameters: EspressoMDParameters, steps: int) -> float:
    """Return the temperature in K at which velocities are drawn so that the atoms have theirs on average.

    Unless some atoms are fixed, pw.x then takes away the motion of the centre of mass that a collision brings. Of N
    atoms of which each collides with probability p in a step, the energy that this costs is balanced by what the
    collisions bring where the atoms have 1 / (1 + (1 - p) / N) of that temperature.
    """
    given = parameters.temperature or 0.0
    return given * (1 + (1 - 1 / steps) / len(atoms)) if free_components(atoms).all() else given


def _thermostat(atoms: Atoms, parameters: EspressoMDParameters, first: int) -> dict[str, Value]:
    # With velocities that are given pw.x 6.7 knows no temperature before its second step: there all of its others but
    # rescale-v, which has no ramp, make energies that are no numbers.
    interval = parameters.interval
    if parameters.temperature_end is None:
        return {"ion_temperature": "andersen", "tempw": _drawn(atoms, parameters, interval), "nraise": interval}
    begin = parameters.temperature or 0.0
    slope = (parameters.temperature_end - begin) / (parameters.steps + 1)
    # Once in `nraise` steps its temperature becomes another, and velocities are rescaled to that.
    return {
        "ion_temperature": "reduce-T",
        "tempw": begin + slope * first,
        "nraise": interval,
        "delta_t": slope * interval,
    }


def _motion(atoms: Atoms, parameters: EspressoParameters, start: Start, *, from_input: bool) -> Namelists:
    if isinstance(parameters, EspressoMDParameters):
        ions: dict[str, Value] = {
            "ion_dynamics": "verlet",
            "ion_velocities": "from_input" if from_input else "default",
        }
        if parameters.ensemble == "nvt":
            first = 0 if start.cycles is None else parameters.steps + 1 - start.cycles
            ions |= _thermostat(atoms, parameters, first)
        return {"ions": ions}
    if not isinstance(parameters, EspressoRelaxParameters):
        return {}
    found: Namelists = {"ions": {"ion_dynamics": "bfgs"}}
    if parameters.cell == "free":
        largest = parameters.fmax * len(atoms) / float(atoms.cell.volume) / math.sqrt(3)
        cell: dict[str, Value] = {
            "cell_dynamics": "bfgs",
            "press": parameters.pressure * 10,
            "press_conv_thr": largest / _KBAR,
        }
        if parameters.cell_factor is not None:
            cell["cell_factor"] = parameters.cell_factor
        found["cell"] = cell
    return found


# -- the cards ---------------------------------------------------------------------------------------------------------


def _kpoints(atoms: Atoms, parameters: EspressoParameters) -> list[str]:
    divisions = mesh(atoms, parameters)
    if divisions is None and (
        noncollinear(atoms, parameters) or isinstance(parameters, EspressoGammaPhononsParameters)
    ):
        # Spinors are complex at Γ, too, and ph.x has all wave functions so.
        divisions = (1, 1, 1)
    if divisions is None:
        return ["K_POINTS gamma"]
    shifts = [int(parameters.kshift and count > 1) for count in divisions]
    return ["K_POINTS automatic", " ".join(map(str, [*divisions, *shifts]))]


def _vector(row: Array) -> str:
    return " ".join(f"{value:.14f}" for value in row)


def _positions(atoms: Atoms, labels: list[str]) -> list[str]:
    moves = free_components(atoms)
    lines = []
    for label, row, free in zip(labels, atoms.positions, moves, strict=True):
        flags = "" if free.all() else " " + " ".join(str(int(each)) for each in free)
        lines.append(f"{label} {_vector(row)}{flags}")
    return lines


def _velocities(atoms: Atoms, start: Start) -> Array | None:
    """Return the velocities in Å/fs with which dynamics begins; None if it begins at rest."""
    if start.velocities is None and atoms.get_momenta().any():
        found: Array = atoms.get_velocities() * units.fs
        return found
    return start.velocities


def _velocity_card(velocities: Array, labels: list[str]) -> list[str]:
    rows = velocities * TIME / units.Bohr
    return ["ATOMIC_VELOCITIES", *(f"{label} {_vector(row)}" for label, row in zip(labels, rows, strict=True))]


def free_components(atoms: Atoms) -> Array:
    """Return which components of the positions may move, shape (atoms, 3).

    Raises
    ------
    StructureError
        For a constraint that pw.x's input cannot say.
    """
    return constraints.movable(atoms, along="axes", program="pw.x")


def degrees_of_freedom(atoms: Atoms) -> int:
    """Return over how many the kinetic energy is shared: three less, those of the centre of mass, if none is fixed."""
    free = free_components(atoms)
    return int(free.sum()) - 3 * bool(free.all())


def drifts(atoms: Atoms) -> bool:
    """Say whether the atoms move as a whole, which pw.x takes away unless some are fixed."""
    momenta = atoms.get_momenta()
    total = np.linalg.norm(momenta.sum(axis=0))
    return bool(free_components(atoms).all() and total > 1e-6 * np.abs(momenta).sum())
