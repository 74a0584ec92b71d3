"""What the files that a script reads and includes may say, checked as the script is; no LAMMPS runs here."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from typing import TYPE_CHECKING, Any

import pytest

from nanoos_lab.core.errors import InputError
from nanoos_lab.engines.base import EnginePolicy
from tests.engines.lammps.outside import submitted

if TYPE_CHECKING:
    from pathlib import Path

DATA = "a title, /not/a/file\n\n1 atoms # ../nor/this\n1 atom types\n\nPair Coeffs\n\n1 {}\n"


class TestDataFiles:
    """Their coefficients are arguments of commands."""

    @staticmethod
    def submitted(path: Path) -> None:
        script = f"units metal\npair_style eam\nread_data {path.name}"
        submitted(None, "script", script=script, files=[str(path)])

    @pytest.mark.parametrize("name", ["/etc/passwd", "~/x", "'../x'", "eam /etc/passwd"])
    @pytest.mark.parametrize("called", ["mine.data", "mine.data.gz", "mine.xz", "mine.bz2", ".gz", ".xz", ".BZ2", "gz"])
    def test_a_file_elsewhere_is_refused(self, tmp_path: Path, name: str, called: str) -> None:
        path = tmp_path / called
        ending = called.rpartition(".")[2].lower() if "." in called else ""
        unpacked: Any = {"gz": gzip.open, "xz": lzma.open, "bz2": bz2.open}.get(ending, open)
        with unpacked(path, "wt") as file:
            file.write(DATA.format(name))
        with pytest.raises(InputError, match=rf"data file '{re.escape(called)}', line 8: .* is outside of the working"):
            self.submitted(path)

    def test_one_that_nobody_can_look_at_is_refused(self, tmp_path: Path) -> None:
        for name in ("mine.data.zst", ".lz4"):
            (tmp_path / name).write_bytes(b"(")
            with pytest.raises(InputError, match="cannot be looked at; unpack it first"):
                self.submitted(tmp_path / name)
        packed = gzip.compress(b"some text, packed" * 1000)
        for content in (b"not packed", packed[:20], packed[:10] + b"\xff" * 50):
            (tmp_path / "mine.data.gz").write_bytes(content)
            with pytest.raises(InputError, match="cannot be read"):
                self.submitted(tmp_path / "mine.data.gz")

    def test_others_are_let_through(self, tmp_path: Path) -> None:
        (tmp_path / "mine.data").write_text(DATA.format("Cu_u3.eam") + "\nAtoms # atomic\n\n1 1 0.5 -.5 1..5\n")
        self.submitted(tmp_path / "mine.data")


class TestIncludedFiles:
    """They are checked as the script is, and what they name travels with the job."""

    @staticmethod
    def submitted(folder: Path, included: str, script: str, policy: EnginePolicy | None = None) -> list[str]:
        (folder / "ff.lmp").write_text(included)
        files = [str(folder / "ff.lmp")]
        _, found = submitted(None, "script", policy or EnginePolicy(), script=script, files=files)
        return sorted(path.name for path in found.values())

    @pytest.mark.parametrize(
        ("included", "script", "why"),
        [
            ("# first\nshell ls", "include ff.lmp", "ff.lmp, line 2: command 'shell' is refused: it runs programs"),
            ("pair_styl eam", "include ff.lmp", "ff.lmp, line 1: command 'pair_styl' is unknown"),
            (
                "include /etc/passwd",
                "include ff.lmp",
                "ff.lmp, line 1: '/etc/passwd' is outside of the working directory",
            ),
            ("units lj\npair_style lj/cutt 5", "include ff.lmp", "ff.lmp, line 2: unknown pair_style 'lj/cutt'. Did"),
            (
                "pair_coeff 1 1 mors 1 1 1",
                "pair_style hybrid morse 3\ninclude ff.lmp",
                "ff.lmp, line 1: unknown style in",
            ),
            ("include more.lmp", "include ff.lmp", "script='include more.lmp' is not allowed: there is no such file"),
            (
                "units lj",
                "include ff.lmp\npair_style eam\npair_coeff * * Cu_u3.eam",
                "script='units lj' is not allowed",
            ),
            ("pair_style adp", "units real\ninclude ff.lmp\npair_coeff * * Ni.adp Ni", "script='units real' is not"),
        ],
    )
    def test_what_is_wrong_in_one_is_found_at_submit(
        self, tmp_path: Path, included: str, script: str, why: str
    ) -> None:
        with pytest.raises(InputError) as caught:
            self.submitted(tmp_path, included, script)
        assert str(caught.value).startswith(why)

    def test_potentials_of_the_wheel_that_one_names_travel_with_it(self, tmp_path: Path) -> None:
        names = self.submitted(tmp_path, "pair_style eam\npair_coeff * * Cu_u3.eam", "units metal\ninclude ff.lmp")
        assert names == ["Cu_u3.eam", "ff.lmp"]

    def test_files_that_include_each_other_are_read_once(self, tmp_path: Path) -> None:
        assert self.submitted(tmp_path, "include ff.lmp", "include ff.lmp\ninclude ff.lmp") == ["ff.lmp"]

    def test_where_shells_are_allowed_one_may_have_them(self, tmp_path: Path) -> None:
        free = EnginePolicy(allow_shell=True)
        self.submitted(tmp_path, "shell ls", "include ff.lmp", free)
        self.submitted(tmp_path, "shell ls", f"include {tmp_path}/elsewhere.lmp\nshell ./make\ninclude made.lmp", free)
        with pytest.raises(InputError, match=r"ff\.lmp.*quote"):
            self.submitted(tmp_path, "print 'a'b", "include ff.lmp", free)

    @pytest.mark.parametrize(
        ("included", "script"),
        [
            ("units lj", "include ./ff.lmp"),
            # Perhaps never executed.
            ("pair_style lj/cutt 2.5", "if '${n} == 1' then 'jump SELF on'\ninclude ff.lmp\nlabel on"),
            ("units lj", "print 'units lj' file part${n}.lmp\ninclude part1.lmp"),
            ("units lj", "write_coeff $n.lmp\ninclude part1.lmp"),
            ("units lj", "print 'units lj' file ${f}\ninclude part1.lmp"),
            ("units lj", "if '$i == 1' then \"print 'x' file part.$i\"\ninclude part.1"),
            ("units lj", "print 'x' file part$(v_i*(1+2)).lmp\ninclude part3.lmp"),
        ],
    )
    def test_what_may_be_right_is_let_through(self, tmp_path: Path, included: str, script: str) -> None:
        self.submitted(tmp_path, included, script)

    def test_many_that_include_each_other_are_read_in_no_time(self, tmp_path: Path) -> None:
        for number in range(60):
            (tmp_path / f"{number}.lmp").write_text(f"include {number + 1}.lmp\n" * 2 if number < 59 else "units lj")
        files = [str(tmp_path / f"{number}.lmp") for number in range(60)]
        submitted(None, "script", script="include 0.lmp", files=files)

    def test_one_that_is_no_text_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "ff.lmp").write_bytes(b"\xff\xfe")
        with pytest.raises(InputError, match=r"'ff\.lmp' cannot be included"):
            submitted(None, "script", script="include ff.lmp", files=[str(tmp_path / "ff.lmp")])
