"""The one table of units: ASE's, with stress and pressure in GPa in tables.

Conversion factors are ASE's (CODATA 2014, as `ase.units` has them), so that numbers agree with ASE's to the last
digit.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Column or property name → unit, as shown on axes and in ``DataFrame.attrs["units"]``.
UNITS: dict[str, str] = {
    "step": "1",
    "time": "fs",
    "temperature": "K",
    "potential_energy": "eV",
    "kinetic_energy": "eV",
    "total_energy": "eV",
    "pressure": "GPa",
    "volume": "Å³",
    "fmax": "eV/Å",
    "energy": "eV",
    "free_energy": "eV",
    "forces": "eV/Å",
    "stress": "eV/Å³",
    "positions": "Å",
    "cell": "Å",
    "velocities": "Å/fs",
    "density": "g/cm³",
    "lattice_constant": "Å",
    "bulk_modulus": "GPa",
    "equilibrium_volume": "Å³",
    "cohesive_energy": "eV/atom",
    "barrier": "eV",
    "reaction_energy": "eV",
    "image_energies": "eV",
    "image_positions": "Å",
    "steps": "1",
    "scf_iterations": "1",
    "scf_accuracy": "Ry",
    "scf_change": "eV",
    "energy_without_entropy": "eV",
    "smearing_energy": "eV",
    "fermi_level": "eV",
    "fermi_levels": "eV",
    "highest_occupied": "eV",
    "lowest_unoccupied": "eV",
    "eigenvalues": "eV",
    "occupations": "1",
    "kpoints": "1",
    "kpoint_weights": "1",
    "magmom": "µB",
    "magmoms": "µB",
    "magnetization": "µB",
    "absolute_magnetization": "µB",
    "distances": "1/Å",
    "special_distances": "1/Å",
    "band_gap": "eV",
    "dos_energies": "eV",
    "dos": "1/eV",
    "dos_integral": "1",
    "frequencies": "THz",
    "frequencies_along": "THz",
    "modes": "1",
    "force_constants": "eV/Å²",
    "dielectric_tensor": "1",
    "born_charges": "e",
}


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table: its name, and its unit as shown to people."""

    #: Name, in snake case.
    name: str
    #: Unit; "1" for a pure number, "" where the program does not say.
    unit: str


#: The columns that every thermo table begins with, in this order.
THERMO_COLUMNS: tuple[str, ...] = (
    "time",
    "temperature",
    "potential_energy",
    "kinetic_energy",
    "total_energy",
    "pressure",
    "volume",
)


def thermo_columns(*extra: str) -> tuple[Column, ...]:
    """Return the usual columns of thermo, and the engine's own after them."""
    return tuple(Column(name=name, unit=unit_of(name)) for name in (*THERMO_COLUMNS, *extra))


def unit_of(name: str) -> str:
    """Return the unit of a column or property; "" for a name that is not ours."""
    return UNITS.get(name, "")
