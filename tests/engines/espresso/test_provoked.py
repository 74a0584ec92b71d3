"""Failures of pw.x that take some provoking: no room, no memory, bands that are not found, a lattice that is askew."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ase import Atoms

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.status import Reason
from tests.engines.espresso.running import FAST, FILE, silicon

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engines.espresso.running import ByHand, Ended, Runner

FULL = Path("/dev/full")
#: Has a program, the words after it, one gibibyte of addresses.
LITTLE_MEMORY = ("sh", "-c", 'ulimit -v 1048576 && exec "$@"', "sh")
FEWEST_WAVES, FEW_WAVES, MANY_WAVES = (("ecutwfc = 12.0", f"ecutwfc = {ecut}") for ecut in (3.0, 5.0, 2000.0))
GAMMA = ("K_POINTS automatic\n1 1 1 0 0 0", "K_POINTS gamma")
SMEARED = {"smearing": "gaussian", "degauss": 0.01}


def _by(name: str, *more: str) -> tuple[str, str]:
    """Change the diagonalization, and set more for the electrons."""
    return "diagonalization = 'david'", "\n ".join([f"diagonalization = '{name}'", *more])


def _bands(number: int) -> tuple[str, str]:
    return "nat = 2", f"nat = 2\n nbnd = {number}"


#: Loose enough that its forces are noise at last.
NOISE = [("forc_conv_thr = 0.0002245535046942934", "forc_conv_thr = 1d-10"), ("conv_thr = 1d-08", "conv_thr = 1d-06")]
#: Two sides of 2.7 Å are 2.4·10⁻⁶ Å longer along z: pw.x finds the symmetry of the cube, and then that it is none.
ASKEW = [
    ("0.00000000000000 2.70000000000000 2.70000000000000\n", "0 2.7 2.70000243\n"),
    ("2.70000000000000 0.00000000000000 2.70000000000000\n", "2.7 0 2.70000243\n"),
]
#: Name of the signature; what pw.x says; changes of the input; the task; exit code, and whether pw.x says JOB DONE.
PROVOKED = [
    # pw.x wants more vectors than there are plane waves, so that some depend on others. The first code is LAPACK's.
    ("cholesky", "S matrix not positive definite", [FEW_WAVES, _bands(40), _by("paro")], "static", None, False),
    ("cholesky", "zhegvd failed", [FEWEST_WAVES, _bands(12), _by("ppcg")], "static", 1, False),
    ("cholesky", "dsygvd failed", [FEWEST_WAVES, _bands(6), _by("ppcg"), GAMMA], "static", 1, False),
    (
        "bands not converged",
        "too many bands are not converged",
        [_bands(20), _by("cg", "diago_cg_maxiter = 1", "diago_thr_init = 1d-14", "diago_full_acc = .true.")],
        "static",
        1,
        False,
    ),
    ("symmetry", "not orthogonal operation", ASKEW, "relax", 1, False),
    ("BFGS history", "history already reset at previous step: stopping", NOISE, "relax", 0, True),
]


@pytest.mark.parametrize(
    ("name", "line", "changes", "task", "code", "done"), PROVOKED, ids=[f"{run[0]}: {run[1]}" for run in PROVOKED]
)
def test_a_run_that_is_made_to_fail_is_recognised(
    hand: ByHand, name: str, line: str, changes: list[tuple[str, str]], task: str, code: int | None, *, done: bool
) -> None:
    ended = hand(*changes, task=task)
    assert ended.code == code or (code is None and ended.code > 0)
    assert ended.done == done
    _shows(ended, name, line)


def _shows(ended: Ended, name: str, line: str) -> None:
    """See that a run has failed so, and that the error quotes pw.x."""
    assert ended.sign is not None
    assert ended.sign.signature.name == name
    assert line in ended.sign.line
    assert ended.error is not None
    assert ended.error.reason is ended.sign.signature.reason
    assert ended.sign.line in str(ended.error)


# -- the disk ----------------------------------------------------------------------------------------------------------

no_full = pytest.mark.skipif(not FULL.is_char_device(), reason="there is no device that is always full")


def _without_room(place: Path) -> None:
    """Have no room for the density, which pw.x writes into the file that is there."""
    save = place / "out" / "pwscf.save"
    save.mkdir(parents=True)
    (save / "charge-density.dat").symlink_to(FULL)


@no_full
def test_a_full_disk_is_recognised(hand: ByHand) -> None:
    _without_room(hand.place)
    # A density of less than 128 KiB waits in Fortran's buffer, and nobody minds that it is lost in the end.
    ended = hand(("ecutwfc = 12.0", "ecutwfc = 40.0"))
    assert (ended.code, ended.done) == (1, False)
    _shows(ended, "disk", "error writing file out/pwscf.save/charge-density")


@no_full
def test_a_full_disk_is_told_by_the_engine(pw: Runner) -> None:
    context = pw.context()
    _without_room(context.workdir)
    with pytest.raises(EngineError, match=r"there is no room for its files\. pw\.x says: error writing file") as caught:
        pw(silicon(), "static", context, **{**FAST, "ecutwfc": 40})
    assert (caught.value.reason, caught.value.correction) == (Reason.RESOURCE, None)


# -- memory ------------------------------------------------------------------------------------------------------------


def test_too_little_memory_is_recognised_by_what_fortran_says(hand: ByHand) -> None:
    ended = hand(MANY_WAVES, launch=LITTLE_MEMORY)
    assert (ended.code, ended.done) == (1, False)
    _shows(ended, "memory", "Error allocating")


def test_too_little_memory_is_recognised_by_what_pwx_says(hand: ByHand) -> None:
    """It asks after some of its larger arrays itself, and does not say "memory"."""
    david = _by("david", "diago_david_ndim = 40", "startingwfc = 'random'")
    ended = hand(("ecutwfc = 12.0", "ecutwfc = 100.0"), _bands(100), david, launch=LITTLE_MEMORY)
    assert (ended.code, ended.done) == (1, False)
    _shows(ended, "memory", "cannot allocate")


def test_too_little_memory_is_told_by_the_engine(pw: Runner, stand_in: Callable[[str], None]) -> None:
    stand_in('ulimit -v 1048576 && exec "$PW" "$@"')
    with pytest.raises(EngineError, match=r"there was not enough memory\. pw\.x says: .*Error allocating") as caught:
        pw(silicon(), "static", **{**FAST, "ecutwfc": 2000})
    assert (caught.value.reason, caught.value.correction) == (Reason.MEMORY, None)


# -- bands -------------------------------------------------------------------------------------------------------------


def _lose_last_band(path: Path) -> None:
    """Make the last band of a file nought, as where it was never written."""
    whole = path.read_bytes()
    # The last record of Fortran: its length, the coefficients, its length.
    (length,) = struct.unpack("=i", whole[-4:])
    path.write_bytes(whole[: -4 - length] + bytes(length) + whole[-4:])


def test_wave_functions_that_are_broken_are_recognised(hand: ByHand) -> None:
    assert hand().error is None
    _lose_last_band(hand.place / "out" / "pwscf.save" / "wfc1.dat")
    ended = hand(_by("ppcg", "startingwfc = 'file'"))
    assert (ended.code, ended.done) == (4, False)
    _shows(ended, "cholesky", "problems computing cholesky")


def test_a_hamiltonian_that_is_no_number_is_recognised(hand: ByHand) -> None:
    path = hand.place / "pseudo" / FILE
    before, rest = path.read_text().split("<PP_DIJ>\n")
    path.write_text(f"{before}<PP_DIJ>\nNaN {rest.split(maxsplit=1)[1]}")
    ended = hand(_bands(8))
    assert (ended.code > 0, ended.done) == (True, False)
    _shows(ended, "eigenvectors", "eigenvectors failed to converge")


def test_bands_that_one_diagonalization_does_not_find_another_does(pw: Runner) -> None:
    many = {**FAST, "ecutwfc": 5, "nbnd": 40}
    with pytest.raises(EngineError, match=r"bands could not be found\. pw\.x says: S matrix not positive") as caught:
        pw(silicon(), "static", **many, diagonalization="paro")
    assert caught.value.reason is Reason.ENGINE
    assert caught.value.correction is not None
    assert caught.value.correction.changes == {"diagonalization": "cg"}
    assert pw(silicon(), "static", **many, **caught.value.correction.changes)["converged"] is True


def test_too_many_bands_that_are_not_converged_are_told_by_the_engine(pw: Runner) -> None:
    hasty = {"electrons": {"diago_cg_maxiter": 1, "diago_thr_init": 1e-14, "diago_full_acc": True}}
    with pytest.raises(EngineError, match=r"be found\. pw\.x says: too many bands are not converged") as caught:
        pw(silicon(), "static", **FAST, nbnd=20, diagonalization="cg", input=hasty)
    # There is none after it.
    assert (caught.value.reason, caught.value.correction) == (Reason.ENGINE, None)


def test_a_density_that_does_not_change_is_recognised(pw: Runner) -> None:
    """Two iterations are the same to the last bit, so that what is learned from their difference is nought."""
    atom = Atoms("H", cell=[2.5] * 3, pbc=True)
    how: dict[str, Any] = {"pseudos": {"H": "H.pz-vbc.UPF"}, "ecutwfc": 6, "nbnd": 1, "kpts": (1, 1, 1), **SMEARED}
    with pytest.raises(EngineError, match=r"be found\. pw\.x says: Error in routine broyden \(1\):") as caught:
        pw(atom, "static", **how, mixing_beta=1e-20, diagonalization="ppcg")
    assert caught.value.reason is Reason.ENGINE
    assert caught.value.correction is not None
    assert caught.value.correction.changes == {"diagonalization": "david"}


# -- structures --------------------------------------------------------------------------------------------------------


def test_a_lattice_that_is_nearly_symmetric_relaxes_without_symmetry(pw: Runner) -> None:
    askew = silicon(shift=0.2)
    askew.cell[:2, 2] *= 1 + 9e-7
    with pytest.raises(EngineError, match=r"no longer go together\. pw\.x says: not orthogonal operation") as caught:
        pw(askew, "relax", **FAST)
    assert (caught.value.reason, caught.value.correction) == (Reason.ENGINE, None)
    assert "input={'system': {'nosym': True}}" in str(caught.value.remedy)
    assert pw(askew, "relax", **FAST, input={"system": {"nosym": True}})["converged"] is True


def test_a_long_cell_that_is_nearly_orthogonal_is_recognised(pw: Runner) -> None:
    """pw.x takes it for orthogonal, since along the long axis it is; the spheres of an atom are turned too far."""
    atom = Atoms("H", cell=[[2.5, 0, 2.75e-5], [0, 2, 0], [0, 0, 60]], pbc=True)
    how: dict[str, Any] = {"pseudos": {"H": "H.pbe-kjpaw.UPF"}, "ecutwfc": 12, "ecutrho": 48, **SMEARED}
    with pytest.raises(EngineError, match=r"no longer go together\. pw\.x says: D_S \(l=1\) for") as caught:
        pw(atom, "static", **how)
    assert caught.value.reason is Reason.ENGINE


def test_an_optimiser_that_is_stuck_in_noise_gets_smaller_steps(pw: Runner) -> None:
    """pw.x says that it has converged."""
    with pytest.raises(EngineError, match=r"no way down any more\. pw\.x says: history already reset") as caught:
        pw(silicon(shift=0.2), "relax", **FAST, fmax=1e-9, conv_thr=1e-6)
    assert caught.value.reason is Reason.CONVERGENCE
    assert caught.value.correction is not None
    assert caught.value.correction.changes == {"input": {"ions": {"trust_radius_min": pytest.approx(1e-4)}}}
