"""Each way in which VASP fails is recognised, and has a way around it or a plain remedy.

The lines are VASP's as custodian and the VASP forum have them, or recorded where it says so; a row of the table without
one here fails the last test. Whole recordings that are not ours are in ``by_hand.py``.
"""

from __future__ import annotations

from typing import Any

import pytest

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.parameters import validate
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import registry
from nanoos_lab.engines.signatures import Scanner
from nanoos_lab.engines.vasp import corrections, failures
from nanoos_lab.engines.vasp.outcar import Facts
from nanoos_lab.engines.vasp.verdict import Ending, Signs, judge
from tests.engines.vasp.recordings import recording
from tests.engines.vasp.running import atoms_of, run
from tests.engines.vasp.synthetic import Run

#: Name of the row, task, line, what the first attempt after it changes, and whether that begins at step 0.
CASES: list[tuple[str, str, str, dict[str, Any] | None]] = [
    ("input", "static", " Error reading item 'ENCUT' from file INCAR.", None),
    ("harris", "static", " ERROR: Spin polarized Harris functional dynamics is a good joke ...", None),
    ("core", "static", " internal error in SET_CORE_WF core wavefunctions are not correct", None),
    ("handedness", "static", " ERROR: the triple product of the basis vectors is negative", None),
    ("memory", "static", "Allocation would exceed memory limit", None),
    ("wave functions", "static", " ERROR: while reading WAVECAR, plane wave coefficients changed", {"ISTART": 0}),
    ("bands", "static", " WARNING: TOO FEW BANDS!!", {"NBANDS": 22}),
    (
        "bands",
        "static",
        "|     Your highest band is occupied ... The number of bands is not sufficient",
        {"NBANDS": 22},
    ),
    (
        "tetrahedra",
        "static",
        " Tetrahedron method fails for NKPT<4. NKPT =                     1",
        {"smearing": "gaussian"},
    ),
    ("mixing", "static", "BRMIX: very serious problems", {"IMIX": 1}),
    ("davidson", "static", " Error EDDDAV: Call to ZHEGV failed. Returncode =   6 2   8", {"ALGO": "All"}),
    ("subspace", "static", " ERROR in subspace rotation PSSYEVX: not enough eigenvalues found", {"ALGO": "All"}),
    ("diagonalisation", "static", "ERROR EDDIAG: Call to routine ZHEEV failed! 20  1  20", {"ALGO": "Exact"}),
    ("cholesky", "static", " LAPACK: Routine ZPOTRF failed!", {"ISYM": 0}),
    ("cholesky", "relax", " LAPACK: Routine ZPOTRF failed!", {"POTIM": 0.25}),
    ("gradient", "static", " EDWAV: internal error, the gradient is not orthogonal   1  1  0.1", {"ALGO": "Normal"}),
    ("k-lattice", "static", "Reciprocal lattice and k-lattice belong to different class of lattices.", {"ISYM": 0}),
    (
        "k-lattice",
        "static",
        "internal error in GENERATE_KPOINTS_TRANS: number of G-vector changed in star",
        {"ISYM": 0},
    ),
    (
        "commutator",
        "static",
        " LRF_COMMUTATOR internal error: the vector: -2.1 -2.1 0.0 of the 1. star",
        {"LPEAD": True},
    ),
    ("positions", "relax", "POSMAP internal error: symmetry equivalent atom not found,", {"SYMPREC": 1e-6}),
    ("symmetry", "relax", " PRICELV: current lattice and primitive lattice are incommensurate", {"SYMPREC": 1e-8}),
    ("symmetry", "relax", " RHOSYG internal error: stars are not distinct, try to increase SYMPREC", {"SYMPREC": 1e-8}),
    ("symmetry", "relax", " inverse of rotation matrix was not found (increase SYMPREC)  5", {"SYMPREC": 1e-8}),
    ("symmetry", "relax", " internal ERROR: group operation missing: please increase SYMPREC", {"SYMPREC": 1e-8}),
    ("line search", "relax", " ZBRENT: fatal error in bracketing", {"optimizer": "quasi-newton", "ediff": 1e-8}),
    ("projectors", "static", " REAL_OPTLAY: internal error (1)  0 24", {"LREAL": False}),
    ("spheres", "relax", " ERROR RSPHER: internal error", {"POTIM": 0.25}),
    ("density", "md", " ERROR FEXCF: supplied exchange-correlation table", {"timestep": 0.5}),
    ("linear response", "static", " PEAD routines do not work for NCORE/=1", {"NCORE": 1}),
    ("hermitian", "static", "WARNING: Sub-Space-Matrix is not hermitian in DAV            4", {"LREAL": False}),
    ("residuals", "md", "WARNING in EDDRMM: call to ZHEGV failed, returncode =   6  3      8", {"timestep": 0.5}),
    ("residuals", "static", "WARNING in EDDRMM: call to ZHEGV failed, returncode =   6  3      8", {"ALGO": "Normal"}),
    ("fermi level", "static", "WARNING: DENTET: can't reach specified precision", {"smearing": "gaussian"}),
    ("long cell", "static", "|  One of the lattice vectors is very long (>50 A), but AMIN  |", {"AMIN": 0.01}),
    (
        "step length",
        "relax",
        " BRION: g(F)= 0.2E-58 g(S)= 0.8E-05 BRIONS problems: POTIM should be increased",
        {"POTIM": 0.6},
    ),
]
CASES += [
    (
        "noisy symmetry",
        "relax",
        "|     determination of the symmetry of your systems shows a strong dependence  |",
        {"SYMPREC": 1e-8},
    ),
    (
        "all and tetrahedra",
        "static",
        "|   ALGO=A and IALGO=5X tend to fail with the tetrahedron method   |",
        {"sigma": 0.05},
    ),
]
TABLE = (*failures.FATAL, *failures.HINTS)


def parameters(task: str, **values: Any) -> Any:
    own = {"xc": "PBE", "steps": 10} if task == "md" else {"xc": "PBE"}
    return validate(registry.get("vasp").tasks[task], {**own, **values}, where="test")


def failed(task: str, lines: list[str], *, bands: int = 20, **values: Any) -> EngineError:
    given = parameters(task, **values)
    signs = Signs(given)
    for line in lines:
        signs.feed(line)
    error = judge(given, Ending(code=1, facts=Facts(bands=bands), step=None), signs)
    assert error is not None
    return error


@pytest.mark.parametrize(("name", "task", "line", "changes"), CASES)
def test_a_failure_is_recognised_and_answered(name: str, task: str, line: str, changes: dict[str, Any] | None) -> None:
    values = {"smearing": "tetrahedron"} if name in ("tetrahedra", "fermi level", "all and tetrahedra") else {}
    values |= {"incar": {"ALGO": {"residuals": "Fast", "gradient": "All"}.get(name, "Normal")}}
    sign = Scanner(TABLE).feed(line)
    assert sign is not None
    assert sign.signature.name == name
    error = failed(task, [line], **values)
    assert " ".join(line.split()) in error.message
    assert error.remedy
    if changes is None:
        assert error.correction is None
        return
    assert error.correction is not None
    made = {**error.correction.changes, **error.correction.changes.get("incar", {})}
    assert changes.items() <= made.items()
    assert error.correction.why
    # The next attempt's parameters are parameters, and the same failure is not answered alike for ever.
    given = parameters(task, **{**values, **error.correction.changes})
    again = given.model_dump(mode="json")
    for _ in range(20):
        signature = next(each for each in TABLE if each.name == name)
        assert signature.correct is not None
        following = signature.correct({**again, corrections.BANDS: 20})
        if following is None or name == "bands":
            break
        assert following.changes != {key: again[key] for key in following.changes}
        again = validate(type(given), {**again, **following.changes}, where="test").model_dump(mode="json")
    else:
        pytest.fail("the ladder has no end")


def test_every_row_has_a_case() -> None:
    assert {name for name, *_ in CASES} == {each.name for each in TABLE}
    assert len({each.name for each in TABLE}) == len(TABLE)


def test_errors_with_a_way_around_are_not_the_users_input() -> None:
    """What is wrong with the input is not tried again."""
    assert not [each.name for each in TABLE if each.correct is not None and each.reason is Reason.INPUT]


@pytest.mark.parametrize("name", ["basic_run", "exit_codes/converged/out", "exit_codes/ionic-unconverged/out"])
def test_healthy_output_has_no_signs(name: str) -> None:
    signs = Signs(parameters("static"))
    for line in (recording(name) / "vasp_output").read_text().splitlines():
        signs.feed(line)
    assert signs.fatal({}) is None
    assert signs.hint({}) is None


def test_advice_in_a_relaxation_that_converged_is_no_failure() -> None:
    """Recorded: VASP asks for a larger POTIM, and then reaches the required accuracy."""
    signs = Signs(parameters("static"))
    text = (recording("ionic-relax-magmom-carry-on/calc-001/out") / "vasp_output").read_text()
    for line in text.splitlines():
        signs.feed(line)
    assert signs.hint({}) is not None
    facts = Facts(finished=True, accurate=True)
    assert judge(parameters("relax"), Ending(code=0, facts=facts, step=3, fmax=0.0), signs) is None


def test_the_recorded_breakdown_of_mixing() -> None:
    signs = Signs(parameters("static"))
    for line in (recording("exit_codes/converged-with-error/out") / "vasp_output").read_text().splitlines():
        signs.feed(line)
    error = signs.fatal(parameters("static").model_dump())
    assert error is not None
    assert error.correction is not None
    assert error.correction.from_start


def test_a_charged_cell_may_mix_as_it_likes() -> None:
    signs = Signs(parameters("static", incar={"nelect": 9}))
    assert not signs.feed("BRMIX: very serious problems")
    assert signs.fatal({}) is None
    # What it says afterwards counts.
    assert signs.feed(" ZBRENT: fatal error in bracketing")
    error = signs.fatal({})
    assert error is not None
    assert "line search" in error.message


def test_the_ladder_of_an_scf_cycle_that_does_not_converge() -> None:
    given = parameters("static", incar={"ALGO": "V"})
    facts = Facts(finished=True, scf_converged=False, settings={"NELM": 60})
    tried = []
    while True:
        error = judge(given, Ending(code=0, facts=facts, step=0), Signs(parameters("static")))
        assert error is not None
        assert error.reason is Reason.CONVERGENCE
        if error.correction is None:
            break
        assert not error.correction.from_start
        incar = error.correction.changes["incar"]
        tried.append((incar["ALGO"], incar.get("AMIX"), incar.get("AMIN")))
        given = parameters("static", incar=incar)
    assert tried == [
        ("Fast", None, None),
        ("Normal", None, None),
        ("All", None, None),
        ("All", 0.1, None),
        ("All", 0.1, 0.01),
    ]


def test_advice_about_steps_is_no_answer_to_an_scf_cycle_that_does_not_converge() -> None:
    facts = Facts(finished=True, scf_converged=False)
    for line, changes in (
        ("BRIONS problems: POTIM should be increased", {"ALGO": "All", "ISEARCH": 1}),
        ("One of the lattice vectors is very long (>50 A), but AMIN", {"AMIN": 0.01}),
    ):
        signs = Signs(parameters("static"))
        signs.feed(line)
        error = judge(parameters("relax"), Ending(code=0, facts=facts, step=0), signs)
        assert error is not None
        assert error.correction is not None
        assert error.correction.changes["incar"] == changes


def test_memory_is_saved_by_fewer_copies_of_the_wave_functions() -> None:
    error = failed("static", ["Allocation would exceed memory limit"], incar={"KPAR": 4})
    assert error.reason is Reason.MEMORY
    assert error.correction is not None
    assert error.correction.changes["incar"]["KPAR"] == 2


def test_a_mesh_without_gamma_is_moved_there_first() -> None:
    line = "Reciprocal lattice and k-lattice belong to different class of lattices."
    correction = failed("static", [line], gamma=False).correction
    assert correction is not None
    assert correction.changes == {"gamma": True}


def test_words_on_the_error_stream_count_too() -> None:
    ending = Ending(code=1, facts=Facts(), step=None, errors="slurmstepd: error: Detected 1 oom-kill event(s)")
    error = judge(parameters("static"), ending, Signs(parameters("static")))
    assert error is not None
    assert error.reason is Reason.MEMORY


def test_a_kill_without_a_word_is_put_down_to_memory() -> None:
    error = judge(parameters("static"), Ending(code=-9, facts=Facts(), step=2), Signs(parameters("static")))
    assert error is not None
    assert (error.reason, "after step 2" in error.message) == (Reason.MEMORY, True)


@pytest.mark.parametrize("code", [-9, 137])
def test_a_kill_has_nothing_to_do_with_an_earlier_warning(code: int) -> None:
    signs = Signs(parameters("static"))
    signs.feed("|  One of the lattice vectors is very long (>50 A), but AMIN  |")
    error = judge(parameters("static"), Ending(code=code, facts=Facts(), step=2), signs)
    assert error is not None
    assert (error.reason, error.correction) == (Reason.MEMORY, None)


def test_dynamics_that_end_early_have_failed() -> None:
    error = judge(parameters("md"), Ending(code=0, facts=Facts(finished=True), step=4), Signs(parameters("static")))
    assert error is not None
    assert error.message == "VASP ended after 4 of 10 steps"


def test_small_forces_are_convergence_enough_in_a_fixed_cell() -> None:
    ending = Ending(code=0, facts=Facts(finished=True), step=4, fmax=0.009)
    assert judge(parameters("relax"), ending, Signs(parameters("static"))) is None
    assert judge(parameters("relax", cell="free"), ending, Signs(parameters("static"))) is not None


def test_a_fatal_word_ends_the_run_at_once_and_leaves_a_checkpoint(context, replay, tmp_path) -> None:
    made = Run(steps=60, seconds=0.05)
    place = made.write(tmp_path / "recording")
    text = made.stdout().splitlines(keepends=True)
    at = next(index for index, line in enumerate(text) if line.startswith("     3 F="))
    text.insert(at + 1, " ZBRENT: fatal error in bracketing\n")
    (place / "vasp_output").write_text("".join(text))
    replay(place, speed=2)
    context.checkpoint_interval = 60.0
    with pytest.raises(EngineError, match="line search of the relaxation broke down") as caught:
        run(context, atoms_of(made), "relax", steps=100)
    assert caught.value.correction is not None
    assert not caught.value.correction.from_start
    assert context.steps[-1] < 20
    assert context.checkpoint_made
    assert context.checkpoint_made[-1] in (context.steps[-1], context.steps[-1] + 1)
