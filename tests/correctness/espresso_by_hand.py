"""Quantum ESPRESSO through nanoos_lab, against its programs run by hand with inputs that were written for that.

[G] P. Giannozzi, S. de Gironcoli, P. Pavone, S. Baroni, Phys. Rev. B 43, 7231 (1991).
[L] K. Lejaeghere et al., Crit. Rev. Solid State Mater. Sci. 39, 1 (2014): experiment, zero-point motion taken off.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk

from nanoos_lab.lab.workflows.eos import equation_of_state
from tests.correctness.table import Quantity, as_printed
from tests.fixtures.programs import program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nanoos_lab.lab.lab import Lab
    from nanoos_lab.lab.results import ResultsView

    Collect = Callable[[], list[Quantity]]

LONG = 600.0
PSEUDO_PLACE = "/usr/share/espresso/pseudo"
SILICON, ALUMINIUM, IRON = "Si.pz-vbc.UPF", "Al.pz-vbc.UPF", "Fe.pz-nd-rrkjus.UPF"
#: Experiment: CRC Handbook of Chemistry and Physics.
SILICON_EDGE = 5.431
INPUT = """&control
 calculation='scf', prefix='hand', outdir='out', pseudo_dir='{place}', tprnfor=.true., tstress=.true., verbosity='high'
/
&system
 ibrav=0, nat={nat}, ntyp=1, {system}
/
&electrons
 conv_thr={conv_thr}
/
ATOMIC_SPECIES
{species}
CELL_PARAMETERS angstrom
{cell}
ATOMIC_POSITIONS angstrom
{positions}
K_POINTS automatic
{mesh} 0 0 0
"""
_SHIFTED = Atoms("Si2", positions=[[0, 0, 0], [1.40, 1.35, 1.35]], cell=2.7 * (np.ones((3, 3)) - np.eye(3)), pbc=True)
#: A cell without symmetry, so that no part of the stress vanishes.
_SKEWED = Atoms("Al", cell=[[0.0, 2.0, 2.05], [2.02, 0.05, 2.0], [2.1, 2.0, 0.0]], pbc=True)
_IRON = bulk("Fe", "bcc", a=2.80)
_IRON.set_initial_magnetic_moments([3.0])


def by_hand(
    atoms: Atoms,
    species: str,
    system: str,
    mesh: str,
    conv_thr: str = "1d-11",
    further: Mapping[str, str] | None = None,
) -> str:
    """Run pw.x, and then the further programs with their inputs; return what the last one has printed."""
    rows = {"cell": atoms.cell.array, "positions": atoms.positions}
    lines = {name: [" ".join(f"{x:.10f}" for x in row) for row in values] for name, values in rows.items()}
    symbol = species.split()[0]
    text = INPUT.format(
        place=PSEUDO_PLACE,
        nat=len(atoms),
        system=system,
        conv_thr=conv_thr,
        species=species,
        cell="\n".join(lines["cell"]),
        positions="\n".join(f"{symbol} {row}" for row in lines["positions"]),
        mesh=mesh,
    )
    said = ""
    with tempfile.TemporaryDirectory() as folder:
        for name, given in {"pw.x": text, **(further or {})}.items():
            Path(folder, "hand.in").write_text(given)
            command = [program(name, package="quantum-espresso"), "-in", "hand.in"]
            said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    return said


def printed(name: str, results: ResultsView, said: str) -> list[Quantity]:
    """Return energy, forces that do not vanish, and all of the stress, each to the last digit that was printed."""
    one = partial(Quantity, engine="espresso", source="pw.x run by hand")
    energy = _last(r"^!\s+total energy\s+=\s+(\S+) Ry", said)
    found = [as_printed(one, results["energy"], energy, units.Rydberg, name=f"{name} energy", unit="eV")]
    forces = re.findall(r"^ +atom +\d+ type +1 +force = +(\S+) +(\S+) +(\S+)", said, re.MULTILINE)[
        : len(results["forces"])
    ]
    for (index, axis), ours in np.ndenumerate(results["forces"]):
        if abs(float(forces[index][axis])) > 1e-4:
            what = {"name": f"{name} force {'xyz'[axis]} on atom {index}", "unit": "eV/Å"}
            found.append(as_printed(one, ours, forces[index][axis], units.Rydberg / units.Bohr, **what))
    rows = re.search(r"total +stress.*\n((?:(?: +-?\d+\.\d+){6}\n){3})", said)
    assert rows is not None, said
    table = [row.split()[3:] for row in rows.group(1).splitlines()]
    for (i, j), ours in zip(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)), results["stress"], strict=True):
        # pw.x's is positive under compression; in kbar.
        what = {"name": f"{name} stress {'xyz'[i]}{'xyz'[j]}", "unit": "GPa"}
        found.append(as_printed(one, -ours / units.GPa, table[i][j], 0.1, **what))
    return found


def _last(pattern: str, said: str) -> str:
    return str(re.findall(pattern, said, re.MULTILINE)[-1])


def silicon(lab: Lab) -> Collect:
    """Silicon out of order: all that pw.x prints; and its lattice constant against experiment."""
    given: dict[str, Any] = {"engine": "espresso", "pseudos": {"Si": SILICON}, "ecutwfc": 20.0, "kpts": (4, 4, 4)}
    job = lab.submit(_SHIFTED, task="static", conv_thr=1e-11, **given)
    states = equation_of_state(bulk("Si", a=5.4), points=5, lab=lab, **given)

    def collect() -> list[Quantity]:
        results, fit = job.result(LONG), states.wait(LONG).fit()
        said = by_hand(_SHIFTED, f"Si 28.085 {SILICON}", "ecutwfc=20.0", "4 4 4")
        one = partial(Quantity, engine="espresso", source="pw.x run by hand")
        levels = re.search(r"k = 0\.0000 0\.0000 0\.0000 .*bands \(ev\):\s+(.+)", said)
        assert levels is not None, said
        gamma = int(np.abs(results["kpoints"]).sum(axis=1).argmin())
        top = _last(r"highest occupied level \(ev\): +(\S+)", said)
        about = partial(Quantity, engine="espresso", source="experiment; LDA is within 1 %")
        return [
            *printed("Si", results, said),
            *(
                as_printed(one, ours, theirs, name=f"Si level {number} at Γ", unit="eV")
                for number, (ours, theirs) in enumerate(
                    zip(results["eigenvalues"][0, gamma], levels.group(1).split(), strict=True), start=1
                )
            ),
            as_printed(one, results["highest_occupied"], top, name="Si highest occupied level", unit="eV"),
            about(
                name="Si LDA lattice constant",
                value=float(fit.lattice_constant or np.nan),
                reference=SILICON_EDGE,
                tolerance=0.01 * SILICON_EDGE,
                unit="Å",
            ),
        ]

    return collect


def aluminium(lab: Lab) -> Collect:
    """A metal in a skewed cell: all that pw.x prints; and its lattice constant against experiment."""
    given: dict[str, Any] = {"engine": "espresso", "pseudos": {"Al": ALUMINIUM}, "ecutwfc": 16.0}
    given |= {"smearing": "marzari-vanderbilt", "degauss": 0.02}
    job = lab.submit(_SKEWED, task="static", conv_thr=1e-11, kpts=(4, 4, 4), **given)
    states = equation_of_state(bulk("Al", a=4.0), points=5, lab=lab, kpts=(8, 8, 8), **given)

    def collect() -> list[Quantity]:
        results = job.result(LONG)
        system = "ecutwfc=16.0, occupations='smearing', smearing='mv', degauss=0.02"
        said = by_hand(_SKEWED, f"Al 26.98 {ALUMINIUM}", system, "4 4 4")
        one = partial(Quantity, engine="espresso", source="pw.x run by hand")
        fermi, smearing = (
            _last(pattern, said)
            for pattern in (r"the Fermi energy is +(\S+) ev", r"smearing contrib\. \(-TS\) += +(\S+) Ry")
        )
        return [
            *printed("Al", results, said),
            as_printed(one, results["fermi_level"], fermi, name="Al Fermi level", unit="eV"),
            as_printed(one, results["smearing_energy"], smearing, units.Rydberg, name="Al smearing energy", unit="eV"),
            Quantity(
                engine="espresso",
                name="Al LDA lattice constant",
                value=float(states.wait(LONG).fit().lattice_constant or np.nan),
                reference=4.020,
                tolerance=0.02 * 4.020,
                unit="Å",
                source="experiment [L]; LDA is up to 2 % shorter",
            ),
        ]

    return collect


def iron(lab: Lab) -> Collect:
    """A ferromagnet, with an ultrasoft pseudopotential: all that pw.x prints."""
    job = lab.submit(
        _IRON,
        engine="espresso",
        task="static",
        pseudos={"Fe": IRON},
        ecutwfc=25.0,
        ecutrho=200.0,
        kpts=(4, 4, 4),
        smearing="marzari-vanderbilt",
        degauss=0.02,
        conv_thr=1e-11,
    )

    def collect() -> list[Quantity]:
        results = job.result(LONG)
        system = (
            "ecutwfc=25.0, ecutrho=200.0, occupations='smearing', smearing='mv', degauss=0.02, nspin=2, "
            "starting_magnetization(1)=0.3"
        )
        said = by_hand(_IRON, f"Fe 55.845 {IRON}", system, "4 4 4")
        one = partial(Quantity, engine="espresso", source="pw.x run by hand")
        fermi = _last(r"the Fermi energy is +(\S+) ev", said)
        moments = {name: _last(rf"{name} magnetization += +(\S+) Bohr", said) for name in ("total", "absolute")}
        return [
            *printed("Fe", results, said),
            as_printed(one, results["fermi_level"], fermi, name="Fe Fermi level", unit="eV"),
            as_printed(one, results["magmom"], moments["total"], name="Fe magnetic moment", unit="μB"),
            as_printed(
                one, results["absolute_magnetization"], moments["absolute"], name="Fe absolute magnetization", unit="μB"
            ),
        ]

    return collect


def vibrations(lab: Lab) -> Collect:
    """The optical vibration of silicon at q = 0 by ph.x, against ph.x run by hand and against experiment."""
    crystal = bulk("Si", a=5.43)
    how: dict[str, Any] = {"pseudos": {"Si": SILICON}, "ecutwfc": 16.0, "kpts": (4, 4, 4)}
    job = lab.submit(crystal, engine="espresso", task="gamma_phonons", **how)

    def collect() -> list[Quantity]:
        optical = float(job.result(LONG)["frequencies"][-1])
        ph = "by hand\n&inputph\n prefix='hand', outdir='out', fildyn='dyn', tr2_ph=1e-14\n/\n0 0 0\n"
        said = by_hand(crystal, f"Si 28.085 {SILICON}", "ecutwfc=16.0", "4 4 4", "1d-12", {"ph.x": ph})
        theirs = float(_last(r"freq \( +6\) = +(\S+) \[THz\]", said))
        one = partial(Quantity, engine="espresso", name="Si optical vibration", value=optical, unit="THz")
        return [
            one(reference=theirs, tolerance=5e-4, source="pw.x and ph.x run by hand"),
            one(reference=15.53, tolerance=0.01 * 15.53, source="experiment [G]; LDA is within 1 %"),
        ]

    return collect
