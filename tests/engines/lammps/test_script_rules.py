"""What a script may not do, tried as an attacker would; no LAMMPS runs here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanoos_lab.core.errors import InputError, ParameterError
from nanoos_lab.engines.base import EnginePolicy
from nanoos_lab.engines.lammps.script.rules import check_command, check_script
from nanoos_lab.engines.lammps.script.text import Word, lines_of, outside_quotes, words_of
from tests.engines.lammps.outside import submitted

if TYPE_CHECKING:
    from pathlib import Path

RUNS_SOMETHING = [
    "shell rm -rf .",
    "  shell ls",
    "\tshell\tls",
    "'shell' ls",
    '"shell" ls',
    '"""shell""" ls',
    "she&\nll ls",
    "shell &\n ls",
    "python f invoke here 'import os'",
    'python f input 1 v_x here """\nimport os\n"""',
    "plugin load evil.so",
    "geturl http://example.org/x",
    "partition yes 1 shell ls",
    "message server zmq localhost",
    "package gpu 1",
    "if '1 == 1' then 'shell ls'",
    'if "1 == 1" then "print hi" else "shell ls"',
    'if "1 == 1" then "print hi" elif "2 == 2" "shell ls"',
    """if '1 == 1' then "if '2 == 2' then 'shell ls'" """,
    'run 10 every 5 "shell ls"',
    'run 10 every 5 NULL "shell ls"',
    'run 10 every 5 "include written.in"',
    "run 10 every 5 NULL \"if '1 == 1' then 'include written.in'\"",
    "run 10 every 5 \"if '1 == 2' then 'print a' else 'jump written.in'\"",
    "run 10 every 5 \"if '1 == 1' then quit\"",
    'run 10 every 5 "read_data written.data add append"',
    "run 10 every 5 \"if '1 == 1' then 'shell ls'\"",
    "variable c string shell\nrun 10 every 5 '${c} ls'",
    "variable c string 'shell ls'\nrun 10 every 5 \"$c\"",
    "variable c string x.txt\nrun 10 every 5 'print hello file $c'",
    "variable c string shell\n${c} ls",
    "variable s string shell\n$s ls",
    "$(v_x) ls",
    "sh${x}ll ls",
    "if '1 == 1' then '${c} ls'",
    "variable x python f",
    "variable x getenv DATABASE_URL",
    "variable x uloop 3",
    "variable x ${style} DATABASE_URL",
    "dump 1 all movie 100 x.mpg type type",
    "write_dump all movie x.mpg type type",
    "fix 1 all python/invoke 10 end_of_step f",
    "fix 1 all python/move py.Move",
    "fix 1 all imd 9999",
    "fix 1 all ipi host 9999",
    "fix 1 all mdi/qm",
    "fix 1 all colvars c.inp",
    "fix 1 all plumed plumedfile p.dat outfile o",
    "pair_style python 5.0",
    "pair_style hybrid lj/cut 2.5 python 5.0",
    "pair_style kim Model",
    "kim init Model metal",
    "jump other.in",
    "jump other.in label",
    "jump ${where} label",
    "fitpod a b",
    "Shell ls",
    "unknown_command 1 2",
]

TOUCHES_OTHER_FILES = [
    'print "hello" file /etc/cron.d/x',
    'print "hello" append ~/.bashrc',
    'print "hello" file ../x',
    'print "hello" file a/../../x',
    "log /tmp/log",
    "log '/tmp/log'",
    "dump 1 all atom 10 /tmp/dump",
    "dump 1 all custom 10 '../x' id",
    "dump 1 all image 10 /tmp/x.*.png type type",
    "restart 10 /tmp/a /tmp/b",
    "write_restart /tmp/a",
    "write_data ../a",
    "write_dump all atom /tmp/a",
    "read_data /etc/passwd",
    "read_restart ~/x",
    "read_dump /etc/passwd 0 x y z",
    "rerun /etc/passwd dump x y z",
    "include /etc/passwd",
    "molecule m /etc/passwd",
    "variable x file /etc/passwd",
    "variable x atomfile ../x",
    'variable x equal "is_file(/etc/passwd)"',
    "variable x equal is_file(/etc/passwd)",
    "if 'is_file(/etc/passwd)' then 'print x'",
    "fix 1 all ave/time 1 1 1 c_x file /tmp/x",
    'fix 1 all print 10 "hello" file /tmp/x',
    'fix 1 all print 10 "hello" append ../x',
    "pair_coeff * * /etc/passwd Cu",
    "info all out overwrite /tmp/x",
    "labelmap write /tmp/x",
    "if '1 == 1' then 'log /tmp/x'",
    'run 10 every 5 "write_data /tmp/x"',
    "read_data `id`.gz",
    "read_data 'x.data; id; x.gz'",
    "dump 1 all atom 10 'x\"; id; \".gz'",
    "dump 1 all custom/gz 10 '$(id).gz' id",
    "read_data 'a b.bz2'",
]

#: Characters and quotes that this reader and LAMMPS might see differently.
TRICKS = [
    "print 'hello' # 'comment' \nsh\u2060ell ls",
    "\u2018shell\u2019 ls",
    "\u00a0shell ls",
    "print \u201chello\u201d",
    "print 'hello' \x00shell ls",
    "print 'hello\x0bshell ls",
    "print 'unclosed",
    'print """unclosed',
    "print 'closed'shell ls",
    "if '1 == 1' then 'print a\nshell ls'",
    'if "1 == 1" then """print a\nshell ls"""',
    'run 10 every 5 """print a\nshell ls"""',
]

HARMLESS = """\
units metal # shell rm -rf / in a comment is none
print "shell rm -rf /"
print 'text with /etc/passwd in it' file notes.txt
print \"\"\"
several lines
of 'text'
\"\"\"
variable x equal "2/3 + ke/atoms"
variable y equal 3
variable i loop 10
variable names index a b c
variable f file values.txt
region b block 0 1 0 1 0 1 units box
fix 1 all print 100 "$x /tmp is text here" file out.dat screen no
fix 2 all ave/time 1 10 100 c_thermo_temp file sub/means.txt
dump d all custom 100 dump.*.gz id x y z
pair_coeff * * Cu_u3.eam Cu
label top
if "${y} > 2" then "print 'large'" "log other.log" elif "$y == 1" "jump SELF top" else "print 'small'"
run 100 every 50 "print 'now at $(step)'" NULL
next i
jump SELF top
quit
"""


@pytest.mark.parametrize("script", RUNS_SOMETHING)
def test_a_script_cannot_run_programs_or_code_or_reach_the_network(script: str) -> None:
    with pytest.raises(InputError):
        check_script(f"units lj\n{script}\n")


@pytest.mark.parametrize("script", TOUCHES_OTHER_FILES)
def test_a_script_cannot_name_files_outside_of_its_directory(script: str) -> None:
    with pytest.raises(InputError):
        check_script(f"units lj\n{script}\n")


@pytest.mark.parametrize("script", TRICKS)
def test_characters_that_lammps_reads_differently_are_refused(script: str) -> None:
    with pytest.raises(InputError):
        check_script(f"units lj\n{script}\n")


def test_ordinary_scripts_pass() -> None:
    lines = check_script(HARMLESS)
    assert lines[0].text == "units metal"
    assert [line.number for line in lines[:4]] == [1, 2, 3, 4]
    assert lines[4].number == 8


def test_a_refusal_names_line_command_and_reason() -> None:
    with pytest.raises(InputError, match=r"line 3: command 'shell' is refused: it runs programs"):
        check_script("units lj\n\nshell ls")
    with pytest.raises(InputError, match=r"did you mean 'pair_style'\?"):
        check_script("pair_stile lj/cut 2.5")


def test_the_check_of_the_engine_refuses_before_anything_is_queued() -> None:
    with pytest.raises(InputError, match="shell"):
        submitted(None, "script", script="shell ls")
    submitted(None, "script", EnginePolicy(allow_shell=True), script="shell ls")


def test_files_that_are_not_there_or_would_replace_ours_are_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ParameterError, match="there is no file"):
        submitted(None, "script", script="units lj", files=[str(tmp_path / "none")])
    ours = tmp_path / "in.lammps"
    ours.write_text("")
    with pytest.raises(ParameterError, match="another file"):
        submitted(None, "script", script="units lj", files=[str(ours)])


def test_potentials_of_the_wheel_that_a_script_names_travel_with_it() -> None:
    _, files = submitted(None, "script", script="units metal\npair_style eam\npair_coeff * * Cu_u3.eam")
    assert [path.name for path in files.values()] == ["Cu_u3.eam"]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("units lj\npair_style eam\npair_coeff * * Cu_u3.eam", r"units lj.*Cu_u3\.eam is in units 'metal'"),
        ("pair_style eam\npair_coeff * * Cu_u3.eam", "units lj.*'metal'"),
        ("units metal\npair_style reaxff NULL\npair_coeff * * ffield.reax.cho C", "'real'"),
        ("units real\npair_style meam\npair_coeff * * library.meam Cu NULL Cu", "'metal'"),
        ("units real\npair_style edip/omp\npair_coeff * * Si.edip Si", "units real.*'metal'; LAMMPS does not convert"),
        ("units real\npair_style airebo 3.0\npair_coeff * * CH.airebo C", "'metal'; LAMMPS does not convert"),
        ("units real\npair_style adp\npair_coeff * * Ni.adp Ni", "'metal' but does not say so"),
        ("units real\npair_style hybrid sw adp\npair_coeff * * adp Ni.adp Ni", "'metal' but does not say so"),
        ("units metal\npair_style eam\npair_coeff 1 1 nothere.eam", r"nothere\.eam.*there is no such file"),
        ("units metal\nmass * 1.0\ntimestep ${dt}\ninclude nothere.lmp", r"include nothere\.lmp"),
        ("units metal\nmass * 1.0\nrun ${n}\npair_style eam\npair_coeff * * nothere.eam", r"nothere\.eam"),
        ("units metal\ninclude nothere.lmp", r"include nothere\.lmp.*there is no such file; bring it with files="),
        ("units metal\npair_style meam\npair_coeff * * library.meam Cu mine.meam Cu", "mine.meam"),
    ],
)
def test_a_potential_that_is_not_there_or_in_other_units_is_found_at_submit(script: str, why: str) -> None:
    with pytest.raises(ParameterError, match=why):
        submitted(None, "script", script=script)


@pytest.mark.parametrize(
    "script",
    [
        "units real\npair_style eam\npair_coeff * * Cu_u3.eam",
        "units real\npair_style hybrid tersoff/omp lj/cut 5\npair_coeff * * tersoff/omp Si.tersoff Si",
        "units real\npair_style ${s}\npair_coeff * * Si.sw Si",
        "include ${f}\npair_style eam\npair_coeff * * Cu_u3.eam",
        "write_coeff units.in\ninclude units.in\npair_style eam\npair_coeff * * Cu_u3.eam",
        "variable u index metal\nunits ${u}\npair_style eam\npair_coeff * * Cu_u3.eam",
        'print """some text""" file mine.sw\npair_style sw\npair_coeff * * mine.sw Si',
        "variable p index a b\npair_style sw\npair_coeff * * ${p}.sw Si",
    ],
)
def test_a_potential_that_lammps_converts_or_whose_units_nobody_knows_is_let_through(script: str) -> None:
    submitted(None, "script", script=script)


def test_a_file_of_the_users_own_in_no_named_units_is_let_through(tmp_path) -> None:  # type: ignore[no-untyped-def]
    mine = tmp_path / "reduced.sw"
    mine.write_text("# a reduced potential\nSi Si Si 1 1 1.8 31 1.2 -0.33 7.05 0.6 4 0 0\n")
    submitted(None, "script", script="units lj\npair_style sw\npair_coeff * * reduced.sw Si", files=[str(mine)])


def test_a_reaxff_file_is_in_real_units_whether_it_says_so_or_not(tmp_path: Path) -> None:
    mine = tmp_path / "ffield.reax.mine"
    mine.write_text("Reactive MD-force field: mine\n")
    script = "units metal\npair_style reaxff NULL\npair_coeff * * ffield.reax.mine C"
    with pytest.raises(ParameterError, match=r"ffield\.reax\.mine is in units 'real' but does not say so"):
        submitted(None, "script", script=script, files=[str(mine)])


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("pair_style lj/cutt 2.5", "unknown pair_style 'lj/cutt'. Did you mean 'lj/cut'?"),
        ("pair_style lj/cut/gpu 2.5", "unknown pair_style 'lj/cut/gpu'. Did you mean 'lj/cut'?"),
        (
            "pair_style hybrid lj/cutt 2.5 morse 2.5",
            "unknown style in pair_style hybrid 'lj/cutt'. Did you mean 'lj/cut'?",
        ),
        ("pair_style hybrid/scaled 0.5 morsee 2.5", "unknown style in pair_style hybrid/scaled 'morsee'. Did you mean"),
        ("bond_style hybrid harmonik fene", "unknown style in bond_style hybrid 'harmonik'. Did you mean 'harmonic'?"),
        ("kspace_style pppn 1e-5", "unknown kspace_style 'pppn'. Did you mean 'pppm'?"),
        ("bond_style harmonik", "unknown bond_style 'harmonik'. Did you mean 'harmonic'?"),
        ("atom_style ful", "unknown atom_style 'ful'. Did you mean 'full'?"),
        ("run_style verlett", "unknown run_style 'verlett'. Did you mean 'verlet'?"),
        ("min_style ccg", "unknown min_style 'ccg'. Did you mean 'cg'?"),
        ("fix 1 all nvee", "unknown style of fix 'nvee'. Did you mean 'nve'?"),
        ("compute 1 all temmp", "unknown style of compute 'temmp'. Did you mean 'temp'?"),
        ("dump 1 all costum 10 x.dump id", "unknown style of dump 'costum'. Did you mean 'custom'?"),
        ("region 1 blok 0 1 0 1 0 1", "unknown style of region 'blok'. Did you mean 'block'?"),
    ],
)
def test_a_style_that_lammps_does_not_have_is_found_at_submit(line: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        submitted(None, "script", script=f"units lj\n\n{line}\n")
    assert str(caught.value).startswith(f"line 3: {why}")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "script",
    [
        "variable s index lj/cutt\npair_style ${s} 2.5",
        "suffix omp\npair_style lj/cut/omp 2.5\nkspace_style none\nrun_style respa/omp 2 2\nregion b delete",
        "pair_style hybrid/overlay lj/cut 2.5 coul/cut 9.0",
        # Perhaps never executed.
        "if '$(is_available(pair,lj/cutt))' then 'jump SELF on'\npair_style lj/cutt 2.5\nlabel on",
        "if '${n} == 1' then 'pair_style lj/cutt 2.5'",
        "if '${n} == 1' then 'jump SELF on'\npair_style lj/cutt 2.5\nlabel on",
        "jump SELF ${where}\npair_style lj/cutt 2.5",
        # LAMMPS's own.
        "fix 1 all STORE/PERATOM 1 1",
    ],
)
def test_a_style_that_lammps_may_have_or_never_need_is_let_through(script: str) -> None:
    submitted(None, "script", script=f"units lj\n{script}\n")


HYBRID = "pair_style hybrid lj/cut 2.5 mors 2.5\npair_coeff 1 1 lj/cut 1 1\npair_coeff 2 2 {} 1 1 1"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        # A style of which LAMMPS takes the name for an argument of the one before.
        (HYBRID.format("mors"), "line 3: unknown style in pair_coeff 'mors'. Did you mean 'morse'?"),
        (HYBRID.format("morse"), "line 3: unknown style in pair_coeff 'morse'. There"),
        (
            "bond_style hybrid harmonic fene\nbond_coeff 1 harmonic 1 1\nbond_coeff 2 morse 1 1 1",
            "line 3: unknown style in bond_coeff 'morse'. Allowed: fene, harmonic. It is not in bond_style hybrid.",
        ),
    ],
)
def test_coefficients_of_no_style_of_a_hybrid_one_are_found_at_submit(script: str, why: str) -> None:
    with pytest.raises(InputError) as caught:
        submitted(None, "script", script=script)
    assert str(caught.value).startswith(why.replace("There", "Allowed: lj/cut. It is not in pair_style hybrid."))


@pytest.mark.parametrize(
    "script",
    [
        HYBRID.format("lj/cut").replace("mors ", "morse "),
        HYBRID.format("none"),
        HYBRID.format("${s}"),
        "variable s index morse\npair_style hybrid lj/cut 2.5 ${s} 2.5\npair_coeff 2 2 morse 1 1 1",
        "pair_style hybrid lj/cut 2.5\npair_style lj/cut 2.5\npair_coeff 1 1 1.0 1.0",
        "if '${n} == 1' then 'pair_style hybrid morse 2.5'\npair_style hybrid lj/cut 2.5\npair_coeff 1 1 morse 1 1 1",
        # What is included, or read, may bring the style.
        "pair_style hybrid lj/cut 2.5\nif '${n} == 1' then 'include ff.lmp'\npair_coeff 1 1 morse 1 1 1",
        "pair_style hybrid lj/cut 2.5\ninclude ${f}.lmp\npair_coeff 1 1 morse 1 1 1",
        "pair_style hybrid lj/cut 2.5\nread_restart old.restart\npair_coeff 1 1 morse 1 1 1",
        "angle_style hybrid harmonic cosine\nangle_coeff 1 skip\nangle_coeff 2 cosine 1",
        "pair_style hybrid mliap model linear a.model descriptor sna a.desc lj/cut 2.5\npair_coeff * * mliap Cu",
    ],
)
def test_coefficients_that_a_hybrid_style_may_have_are_let_through(script: str) -> None:
    submitted(None, "script", script=script)


def test_commands_over_which_no_jump_leads_are_checked() -> None:
    loop = "label again\nfix 1 all nve\nnext i\njump SELF again\nfix 2 all nvee"
    with pytest.raises(InputError, match=r"line 6: unknown style of fix 'nvee'"):
        submitted(None, "script", script=f"units lj\n{loop.replace('again', 'on', 2)}\n")


def test_scripts_are_checked_with_the_library_that_runs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with an executable of the user's, which runs the tasks that have no script."""
    other = tmp_path / "lmp"
    other.write_text('#!/bin/sh\necho "* Pair styles:"\necho\necho "sw kim"\n')
    other.chmod(0o755)
    monkeypatch.setenv("NANOOS_LMP", str(other))
    submitted(None, "script", script="units lj\npair_style lj/cut 2.5\n")
    with pytest.raises(InputError, match="unknown pair_style 'kim'"):
        submitted(None, "script", EnginePolicy(allow_shell=True), script="units lj\npair_style kim\n")


def test_continued_lines_are_joined_as_lammps_joins_them() -> None:
    [line] = lines_of("pair_coeff * * &  \n   file &\n Cu # end")
    assert [word.text for word in words_of(line.text)] == ["pair_coeff", "*", "*", "file", "Cu"]
    # LAMMPS continues a comment as well.
    assert [found.text for found in lines_of("run 1 # more &\nshell ls\nrun 2")] == ["run 1", "run 2"]


def test_quotes_count_only_at_the_start_of_a_word() -> None:
    assert words_of("a'b' 'c d' \"\"\"e 'f'\"\"\"") == [
        Word("a'b'", quoted=False),
        Word("c d", quoted=True),
        Word("e 'f'", quoted=True),
    ]


@given(st.text(alphabet="ab $'\"#&\n\t{}()", max_size=60))
def test_the_reader_never_does_worse_than_to_refuse(text: str) -> None:
    """No text makes it fail in another way, and what it lets through has a known command on each line."""
    try:
        lines = lines_of(text)
        words = [words_of(line.text) for line in lines]
    except InputError:
        return
    assert all(words)
    for line in lines:
        assert line.text == line.text.strip()
        outside_quotes(line.text)


@given(st.lists(st.text(alphabet="abc/.~$ ;`'", min_size=1, max_size=8), min_size=1, max_size=5))
def test_no_command_gets_a_file_above_its_directory(arguments: list[str]) -> None:
    words = [Word("write_data", quoted=False), *(Word(text, quoted=False) for text in arguments)]
    try:
        check_command(words)
    except InputError:
        return
    for text in arguments:
        assert not text.startswith(("/", "~"))
        assert ".." not in text.split("/")
