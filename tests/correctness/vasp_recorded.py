"""The engine ``vasp`` against what VASP has printed in published recordings: there is no VASP to be run by hand.

Energies are looked up in the standard output, everything else in the OUTCAR, by expressions of their own; our readers
take energies, forces, stress and moments from the OUTCAR, and levels from vasprun.xml, which has more digits.
"""

from __future__ import annotations

import re
from functools import partial

from ase import units

from nanoos_lab.engines.vasp import outcar, vasprun
from nanoos_lab.engines.vasp.outcar import Step
from tests.correctness.table import Quantity, as_printed
from tests.engines.vasp.recordings import folder, lacking

OUT_OF_ORDER = ("exit_codes/converged/out", "exit_codes/ionic-unconverged/out")
MAGNETIC = ("ionic-relax-magmom-carry-on/calc-000/out", "ionic-relax-magmom-carry-on/calc-001/out")
CONVERGED = ("basic_run", *OUT_OF_ORDER, *MAGNETIC)
WITH_LEVELS = ("test_bands_wc/out", *CONVERGED)
#: Components in VASP's order, and their places in ASE's.
COMPONENTS = {"xx": 0, "yy": 1, "zz": 2, "xy": 5, "yz": 3, "xz": 4}
#: A number, six of them, and the levels of the second k-point.
NUMBER = r"\s+(-?\d+\.\d+)"
SIX = r"((?:\s+-?\d+\.\d+){6})"
LEVELS = r" k-point +2 :.*\n.*\n((?: +\d+ +-?\d+\.\d+ +-?\d+\.\d+\n)+)"


def missing() -> str:
    """Say why there are no rows; empty if there are."""
    return lacking(*WITH_LEVELS)


def recorded() -> list[Quantity]:
    """Return the last ionic step of the recordings, as our readers give it beside what VASP has printed."""
    each = ((energies, CONVERGED), (forces_and_stress, OUT_OF_ORDER), (moments, MAGNETIC), (levels, WITH_LEVELS))
    return [one for collect, names in each for name in names for one in collect(name)]


def energies(name: str) -> list[Quantity]:
    """Return the energies; those of the standard output have eight digits."""
    step, _ = of_outcar(name)
    free, extrapolated = re.findall(r"F=\s*(\S+) E0=\s*(\S+)", text(name, "vasp_output"))[-1]
    return [
        quantity(name, "energy", step.energy, extrapolated, "eV"),
        quantity(name, "free energy", step.free_energy, free, "eV"),
    ]


def forces_and_stress(name: str) -> list[Quantity]:
    """Return the force on the first atom and the stress."""
    step, _ = of_outcar(name)
    said = text(name, "OUTCAR")
    force = re.findall(r"TOTAL-FORCE.*\n.*\n" + SIX, said)[-1].split()[3:]
    kbar = re.findall("in kB" + SIX, said)[-1].split()
    assert step.stress is not None
    stress = zip(COMPONENTS.items(), kbar, strict=True)
    return [
        *(quantity(name, f"force {'xyz'[i]}", step.forces[0, i], force[i], "eV/Å") for i in range(3)),
        # In kB, positive if the cell wants to grow.
        *(
            quantity(name, f"stress {component}", step.stress[place] / units.GPa, pressure, "GPa", factor=-0.1)
            for (component, place), pressure in stress
        ),
    ]


def moments(name: str) -> list[Quantity]:
    """Return the magnetic moment of the cell and that of its first atom."""
    step, facts = of_outcar(name)
    said = text(name, "OUTCAR")
    whole = re.findall("number of electron" + NUMBER + " magnetization" + NUMBER, said)[-1][1]
    atom = re.findall(r"magnetization \(x\)\n\n.*\n-+\n\s+1" + 4 * NUMBER, said)[-1][3]
    assert facts.magmoms is not None
    return [
        quantity(name, "magnetic moment", step.magnetization[0], whole, "µB"),
        quantity(name, "moment of an atom", facts.magmoms[0], atom, "µB"),
    ]


def levels(name: str) -> list[Quantity]:
    """Return the Fermi level, and the lowest and the highest level at the second k-point, for each spin."""
    reader = vasprun.Reader()
    list(vasprun.read(folder() / name / "vasprun.xml", reader))
    electrons, said = reader.contents.electrons, text(name, "OUTCAR")
    # As in the results of a job: vasprun.xml has it only with a density of states.
    fermi = of_outcar(name)[0].fermi_level if electrons.fermi_level is None else electrons.fermi_level
    assert fermi is not None
    assert electrons.eigenvalues is not None
    found = [quantity(name, "Fermi level", fermi, re.findall("E-fermi :" + NUMBER, said)[-1], "eV")]
    # The last tables are those of the last ionic step, one for each spin.
    tables = re.findall(LEVELS, said)[-len(electrons.eigenvalues) :]
    for spin, (table, ours) in enumerate(zip(tables, electrons.eigenvalues, strict=True), start=1):
        printed = [line.split()[1] for line in table.splitlines()]
        for which, place in (("lowest", 0), ("highest", -1)):
            found.append(quantity(name, f"{which} level, spin {spin}", ours[1][place], printed[place], "eV"))
    return found


def of_outcar(name: str) -> tuple[Step, outcar.Facts]:
    """Return the last ionic step in an OUTCAR, and what else was read."""
    reader = outcar.Reader()
    *_, step = (each for each in outcar.read(text(name, "OUTCAR").splitlines(True), reader) if isinstance(each, Step))
    return step, reader.facts


def text(name: str, file: str) -> str:
    """Return what VASP has written."""
    return (folder() / name / file).read_text(errors="replace")


def quantity(name: str, what: str, value: float, said: str, unit: str, factor: float = 1.0) -> Quantity:
    """Return what we have read beside what was printed."""
    source = f"recording {name.removesuffix('/out')}"
    one = partial(Quantity, engine="vasp", name=what, unit=unit, source=source)
    return as_printed(one, value, said, factor)
