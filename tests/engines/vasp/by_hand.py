"""Failing runs of VASP as custodian's developers have recorded them, each recognised. By hand, for they are not ours.

They lie in the folder ``tests/files`` of materialsproject/custodian (MIT licence; commit e22cc8853e29)::

    NANOOS_VASP_FAILURES=…/custodian/tests/files pytest tests/engines/vasp/by_hand.py
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from nanoos_lab.engines.vasp import failures
from nanoos_lab.engines.vasp.outcar import Facts
from nanoos_lab.engines.vasp.verdict import Ending, Signs, judge
from tests.engines.vasp.given import parameters

if "NANOOS_VASP_FAILURES" not in os.environ:
    pytest.exit("NANOOS_VASP_FAILURES must name the folder tests/files of a checkout of custodian", returncode=2)
FOLDER = Path(os.environ["NANOOS_VASP_FAILURES"])
#: File → name of the row; each is the output or the error stream of one run.
RECORDED = {
    "large_cell_real_optlay/vasp.out": "projectors",
    "lrf_comm/std_err.txt": "commutator",
    "poscar_error/vasp.out": "symmetry",
    "std_err.txt.kpoints_trans": "k-lattice",
    "std_err.txt.oom": "memory",
    "too_few_bands/vasp.too_few_bands": "bands",
    # It has two reasons, the first of which ended it.
    "vasp.algo_tet": "gradient",
    "vasp.algo_tet_only": "all and tetrahedra",
    "vasp.amin": "long cell",
    "vasp.brions": "step length",
    "vasp.brmix": "mixing",
    "vasp.dentet": "fermi level",
    "vasp.dfpt_ncore": "linear response",
    "vasp.edddav": "davidson",
    "vasp.edddav2": "davidson",
    "vasp.eddiag": "diagonalisation",
    "vasp.eddrmm": "residuals",
    "vasp.fd_ncore": "linear response",
    "vasp.gradient_not_orthogonal": "gradient",
    "vasp.harris": "harris",
    "vasp.hnform": "k-lattice",
    "vasp.ibzkpt": "k-lattice",
    "vasp.ksymm": "k-lattice",
    "vasp.nbands_not_sufficient": "bands",
    "vasp.nicht_konvergent": "projectors",
    "vasp.pdsyevx": "subspace",
    "vasp.point_group": "symmetry",
    "vasp.posmap": "positions",
    "vasp.pricelv": "symmetry",
    "vasp.pssyevx": "subspace",
    "vasp.read_error": "input",
    "vasp.real_optlay": "projectors",
    "vasp.rhosyg": "symmetry",
    "vasp.set_core_wf": "core",
    "vasp.sgrcon": "symmetry",
    "vasp.subspace": "hermitian",
    "vasp.symprec_noise": "noisy symmetry",
    "vasp.too_few_bands_round_error": "bands",
    "vasp.zbrent": "line search",
    "vasp.ztrtri": "cholesky",
    "zpotrf/vasp.out": "cholesky",
    "zpotrf_small/vasp.out": "cholesky",
}
#: What VASP warns of in runs that go well.
HARMLESS = ("aliasing/vasp.aliasing", "aliasing/vasp.aliasing_incar", "vasp.auto_nbands.gz")
#: Rows of which there is no recording.
WITHOUT = {"handedness", "wave functions", "tetrahedra", "spheres", "density"}
#: With what the runs were made, as far as there is a way around only then.
GIVEN = {
    "all and tetrahedra": {"smearing": "tetrahedron"},
    "fermi level": {"smearing": "tetrahedron"},
    "gradient": {"incar": {"ALGO": "All"}},
    "memory": {"incar": {"KPAR": 4}},
}
TABLE = {each.name: each for each in (*failures.FATAL, *failures.HINTS)}


def lines_of(name: str) -> list[str]:
    data = (FOLDER / name).read_bytes()
    return (gzip.decompress(data) if name.endswith(".gz") else data).decode(errors="replace").splitlines()


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_failure_is_recognised(name: str) -> None:
    given = parameters("relax", **GIVEN.get(RECORDED[name], {}))
    signs = Signs(given)
    errors = ""
    if "std_err" in name:
        errors = "\n".join(lines_of(name))
    else:
        for line in lines_of(name):
            signs.feed(line)
    error = judge(given, Ending(code=1, facts=Facts(bands=20), step=None, errors=errors), signs)
    expected = TABLE[RECORDED[name]]
    assert error is not None
    assert error.reason is expected.reason
    assert expected.meaning in error.message
    assert error.remedy
    assert (error.correction is not None) == (expected.correct is not None)


@pytest.mark.parametrize("name", HARMLESS)
def test_a_recorded_warning_is_no_failure(name: str) -> None:
    signs = Signs(parameters("static"))
    assert not any(signs.feed(line) for line in lines_of(name))
    assert signs.hint({}) is None


def test_each_row_has_a_recording_or_is_known_to_have_none() -> None:
    assert set(RECORDED.values()) | WITHOUT == set(TABLE)
    assert not set(RECORDED.values()) & WITHOUT
