"""LAMMPS scripts that reach the shell or foreign files by what LAMMPS itself makes of a checked command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nanoos_lab.core.errors import EngineError, InputError
from tests.engines.lammps.outside import Outside, submitted

if TYPE_CHECKING:
    from pathlib import Path

MELT = """\
units lj
lattice fcc 0.8442
region box block 0 3 0 3 0 3
create_box 1 box
create_atoms 1 box
mass 1 1.0
pair_style lj/cut 2.5
pair_coeff 1 1 1.0 1.0 2.5
fix 1 all nve
"""


def attack(outside: Outside, workdir: Path, script: str) -> None:
    """Submit and run a script; it may be refused, or run into an error, at any point."""
    with pytest.raises((InputError, EngineError)):
        outside.run(workdir, None, "script", script=MELT + script)


def test_quotes_inside_a_nested_command_stay_quotes(outside: Outside, tmp_path: Path) -> None:
    """Put into new quotes, the middle of this one argument would be an argument of its own: a shell command."""
    attack(outside, tmp_path, """run 1 every 1 'log log.x \"\"\" "shell touch pwned" \"\"\" append'\n""")
    assert not (tmp_path / "pwned").exists()


def test_a_quoted_variable_between_run_and_its_commands_brings_no_command(outside: Outside, tmp_path: Path) -> None:
    attack(outside, tmp_path, """variable m string '1 "shell touch pwned"'\nrun 2 every "${m}" "print a"\n""")
    assert not (tmp_path / "pwned").exists()


def test_the_text_of_a_nested_print_cannot_grow_a_file_name(outside: Outside, tmp_path: Path) -> None:
    target = tmp_path / "pwned"
    attack(outside, tmp_path / "work", f'variable x string "hello file {target}"\nrun 2 every 1 "print $x"\n')
    assert not target.exists()


def test_a_nested_print_of_a_quoted_text_is_allowed(outside: Outside, tmp_path: Path) -> None:
    outside.run(tmp_path, None, "script", script=MELT + """run 2 every 1 'print "now at $(step)"'\n""")
    assert "now at 2" in (tmp_path / "log.lammps").read_text()


@pytest.mark.parametrize(
    "command",
    [
        "dump 1 all molfile 10 x.pdb pdb .",
        "read_dump x.dcd 0 x y z format molfile dcd .",
        "rerun x.dcd dump x y z format molfile dcd .",
        "pair_style mliap unified model.pkl",
        "pair_style mliap model mliappy model.pkl descriptor sna x",
        "pair_style hybrid lj/cut 2.5 mliap unified model.pkl",
        "compute 1 all mliap descriptor sna x model mliappy",
    ],
)
def test_styles_that_load_program_code_from_files_are_refused(command: str) -> None:
    """Some builds of LAMMPS load shared libraries (MOLFILE) or pickles (ML-IAP) that a script names."""
    with pytest.raises(InputError, match="refused"):
        submitted(None, "script", script=command)


@pytest.mark.parametrize("text", ['print "$(is_file(/etc/passwd))"', "if '$(is_file(/etc/passwd))' then 'print a'"])
def test_a_formula_in_a_text_cannot_ask_for_foreign_files(text: str) -> None:
    with pytest.raises(InputError, match="outside of the working directory"):
        submitted(None, "script", script=text)
