"""LAMMPS's unit systems: factors to ours, and the units of thermo columns.

Source: LAMMPS manual, page ``units``; constants are those of `ase.units`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ase import units


@dataclass(frozen=True, kw_only=True)
class UnitSystem:
    """A unit system; reduced units have factors of 1 and no names."""

    #: Å in its unit of length.
    length: float = 1.0
    #: fs in its unit of time.
    time: float = 1.0
    #: eV in its unit of energy; None if energies are not converted.
    energy: float | None = None
    #: Names of its units of energy, temperature, pressure, length and time.
    names: tuple[str, str, str, str, str] = ("1", "1", "1", "1", "1")
    #: amu in its unit of mass; None in reduced units.
    mass: float | None = None

    @property
    def pressure(self) -> float | None:
        """GPa in its unit of pressure; None if pressures are not converted."""
        return _GPA.get(self.names[2])


_KG = units.kg
#: GPa in the units of pressure.
_GPA = {"bar": 1e-4, "atm": 1.01325e-4, "Pa": 1e-9, "dyn/cm²": 1e-10, "kPa": 1e-6, "MPa": 1e-3}
SYSTEMS: dict[str, UnitSystem] = {
    "lj": UnitSystem(),
    "metal": UnitSystem(time=1e3, energy=1.0, names=("eV", "K", "bar", "Å", "ps"), mass=1.0),
    "real": UnitSystem(energy=units.kcal / units.mol, names=("kcal/mol", "K", "atm", "Å", "fs"), mass=1.0),
    "si": UnitSystem(length=1e10, time=1e15, energy=units.J, names=("J", "K", "Pa", "m", "s"), mass=_KG),
    "cgs": UnitSystem(
        length=1e8, time=1e15, energy=1e-7 * units.J, names=("erg", "K", "dyn/cm²", "cm", "s"), mass=1e-3 * _KG
    ),
    "electron": UnitSystem(length=units.Bohr, energy=units.Hartree, names=("Eh", "K", "Pa", "a0", "fs"), mass=1.0),
    "micro": UnitSystem(
        length=1e4, time=1e9, energy=1e-15 * units.J, names=("fJ", "K", "kPa", "µm", "µs"), mass=1e-15 * _KG
    ),
    "nano": UnitSystem(
        length=10.0, time=1e6, energy=1e-21 * units.J, names=("zJ", "K", "MPa", "nm", "ns"), mass=1e-21 * _KG
    ),
}

#: Heading of a column → which of the units it has; ``thermo_style custom`` keywords and their headings.
_QUANTITIES = {
    0: "PotEng KinEng TotEng Enthalpy Ecouple Econserve E_vdwl E_coul E_pair E_bond E_angle E_dihed E_impro E_mol "
    "E_long E_tail",
    1: "Temp",
    2: "Press Pxx Pyy Pzz Pxy Pxz Pyz",
    3: "Lx Ly Lz Xlo Xhi Ylo Yhi Zlo Zhi Xy Xz Yz Xlat Ylat Zlat Cella Cellb Cellc",
    4: "Time Dt",
}
_COUNTS = frozenset({"Step", "Elapsed", "Elaplong", "Atoms", "Part", "Bonds", "Nbuild", "Ndanger"})
_UNIT_INDEX = {name: index for index, names in _QUANTITIES.items() for name in names.split()}

#: Keyword of ``thermo_style custom`` → heading of its column, where they differ by more than a capital.
_HEADINGS = {
    "pe": "PotEng",
    "ke": "KinEng",
    "etotal": "TotEng",
    "evdwl": "E_vdwl",
    "ecoul": "E_coul",
    "epair": "E_pair",
    "ebond": "E_bond",
    "eangle": "E_angle",
    "edihed": "E_dihed",
    "eimp": "E_impro",
    "emol": "E_mol",
    "elong": "E_long",
    "etail": "E_tail",
    "vol": "Volume",
    "cpu": "CPU",
    "tpcpu": "T/CPU",
    "spcpu": "S/CPU",
    "cpuremain": "CPULeft",
    "timeremain": "TimeoutLeft",
    "cellalpha": "CellAlpha",
    "cellbeta": "CellBeta",
    "cellgamma": "CellGamma",
    "dihedrals": "Diheds",
    "impropers": "Impros",
}


def unit_of(heading: str, system: str) -> str:
    """Return the unit of a thermo column, "1" in reduced units, "" where it is not known."""
    known = SYSTEMS[system]
    if heading == "Volume" and known.mass is not None:
        return f"{known.names[3]}³"
    if heading in _UNIT_INDEX:
        return known.names[_UNIT_INDEX[heading]]
    if heading in _COUNTS or (known.mass is None and "_" not in heading):
        return "1"
    return ""


def ours(heading: str, system: str) -> tuple[float, str]:
    """Return what a value of a thermo column is multiplied with to have our unit, and that unit."""
    known = SYSTEMS[system]
    if known.energy is None or known.pressure is None:
        return 1.0, unit_of(heading, system)
    if heading == "Volume":
        return known.length**3, "Å³"
    if heading not in _UNIT_INDEX:
        return 1.0, unit_of(heading, system)
    factors = ((known.energy, "eV"), (1.0, "K"), (known.pressure, "GPa"), (known.length, "Å"), (known.time, "fs"))
    return factors[_UNIT_INDEX[heading]]


def heading_of(keyword: str) -> str:
    """Return the heading of the column of a ``thermo_style custom`` keyword."""
    if keyword.startswith(("c_", "f_", "v_")):
        return keyword
    return _HEADINGS.get(keyword, keyword.capitalize())
