"""Every way to fail that we know is recognised: on failing runs of pw.x, and lines that none can be made to say."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING, Any

import pytest
from ase.build import fcc100

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines import program
from nanoos_lab.engines.espresso import failures
from nanoos_lab.engines.espresso.output import Reader
from nanoos_lab.engines.signatures import Scanner
from nanoos_lab.store.checkpoints import find
from tests.engines.espresso.running import FAST, FILE, SHRINKING, SILICON, silicon
from tests.engines.espresso.test_provoked import PROVOKED

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms

    from nanoos_lab.core.record import Correction
    from tests.engines.espresso.running import ByHand, Runner


def _sloshing() -> tuple[Atoms, dict[str, Any]]:
    """Return a slab of a metal whose charge goes to and fro where nothing is known of earlier densities."""
    slab = fcc100("Al", (1, 1, 5), vacuum=5)
    slab.pbc = True
    how = {"pseudos": {"Al": "Al.pz-vbc.UPF"}, "ecutwfc": 8, "kpts": (2, 2, 1), "smearing": "gaussian"}
    return slab, {**how, "degauss": 0.005, "conv_thr": 1e-6, "input": {"electrons": {"mixing_ndim": 1}}}


SLOSHING = _sloshing()

SECOND = "Si 1.35000000000000 1.35000000000000 1.35000000000000"
TWO_SPECIES = [(FILE, f"{FILE}\nX 28 Si.pbe-rrkj.UPF"), (SECOND, f"X{SECOND[2:]}")]
#: Name of the signature; changes of the input; the task; exit code and whether pw.x says JOB DONE.
RUNS = [
    ("no pseudopotential", [(FILE, "Sx.upf")], "static", 1, False),
    ("namelist", [("ecutwfc", "ecutwfk")], "static", 1, False),
    ("functionals", [("ntyp = 1", "ntyp = 2"), *TWO_SPECIES], "static", 1, False),
    ("dispersion", [("nat = 2", "nat = 2\n vdw_corr = 'dft-d3'")], "static", 0, False),
    ("overlap", [(SECOND, "Si 0 0 0")], "static", 1, False),
    ("charge is wrong", [("nat = 2", "nat = 2\n tot_charge = 1")], "static", 1, False),
    ("too few bands", [("nat = 2", "nat = 2\n nbnd = 2")], "static", 1, False),
    ("too many bands", [("nat = 2", "nat = 2\n nbnd = 400")], "static", 1, False),
    ("too many bands", [("nat = 2", "nat = 2\n nbnd = 30"), ("ecutwfc = 12.0", "ecutwfc = 3.0")], "static", 1, False),
    ("cut-offs", [("nat = 2", "nat = 2\n ecutrho = 5")], "static", 1, False),
    ("not implemented", [("'david'", "'davit'")], "static", 1, False),
    ("directory", [("outdir = 'out'", "outdir = 'pw.in/out'")], "static", 1, False),
    ("cell factor", [("&cell", "&cell\n cell_factor = 1.0")], "vc_relax", 1, False),
    ("SCF not converged", [("electron_maxstep = 100", "electron_maxstep = 3")], "static", 2, True),
    ("SCF not converged", [("electron_maxstep = 100", "electron_maxstep = 3")], "relax", 2, True),
    ("steps", [("nstep = 101", "nstep = 2")], "relax", 3, True),
    ("time", [("nstep = 101", "nstep = 101\n max_seconds = 1"), ("1 1 1 0 0 0", "12 12 12 0 0 0")], "relax", 2, True),
]  # fmt: skip


@pytest.mark.parametrize(("name", "changes", "task", "code", "done"), RUNS, ids=[f"{run[0]} {run[2]}" for run in RUNS])
def test_a_failing_run_of_pwx_is_recognised(
    hand: ByHand, name: str, changes: list[tuple[str, str]], task: str, code: int, *, done: bool
) -> None:
    ended = hand(*changes, task=task)
    assert (ended.code, ended.done) == (code, done)
    assert ended.sign is not None
    assert ended.sign.signature.name == name
    assert ended.error is not None
    assert ended.error.reason is ended.sign.signature.reason
    assert ended.sign.line in str(ended.error)
    assert ended.error.remedy


def test_a_dispersion_that_the_functional_does_not_have_is_an_error_of_the_input(pw: Runner) -> None:
    """pw.x ends with 0, and has said why."""
    with pytest.raises(EngineError, match=r"pw\.x says: program stopped due to: functional name unknown") as caught:
        pw(silicon(), "static", **FAST, input={"system": {"vdw_corr": "dft-d3", "input_dft": "pw91"}})
    assert caught.value.reason is Reason.INPUT


def test_a_run_that_works_has_no_sign(hand: ByHand) -> None:
    ended = hand()
    assert (ended.code, ended.done, ended.sign, ended.error) == (0, True, None, None)


def test_a_pseudopotential_that_pwx_cannot_read_is_recognised(hand: ByHand) -> None:
    (hand.place / "pseudo" / FILE).write_text("nonsense\n")
    ended = hand()
    assert ended.sign is not None
    assert ended.sign.signature.name == "no pseudopotential"


def test_half_a_pseudopotential_is_told_by_the_error_stream_alone(hand: ByHand) -> None:
    path = hand.place / "pseudo" / FILE
    path.write_text(path.read_text()[:3000])
    ended = hand()
    assert ended.code != 0
    assert ended.error is not None
    assert f"ended with exit code {ended.code}" in str(ended.error)
    assert ended.error.reason is Reason.ENGINE


def test_a_stop_file_from_elsewhere_is_recognised_though_pwx_is_done(hand: ByHand) -> None:
    (hand.place / "pwscf.EXIT").touch()
    ended = hand()
    assert (ended.code, ended.done) == (255, True)
    assert ended.sign is not None
    assert ended.sign.signature.name == "stopped"


def test_more_pools_than_kpoints_are_no_failure_by_themselves(hand: ByHand) -> None:
    where = program.find("pw.x")
    assert where is not None
    # The one of its own MPI: another may come first in the path.
    ended = hand(launch=(str(where.with_name("mpirun")), "-n", "2", "--oversubscribe"), options=("-nk", "2"))
    assert (ended.code, ended.done) == (0, True)
    assert ended.sign is not None
    assert ended.sign.signature.name == "no k-points"
    assert ended.error is None


#: Lines that cannot be made to order: of Fortran's run-time libraries, of Slurm, and of the sources of pw.x 6.7, named
#: here; and which of it is in the program.
LINES = [
    ("disk", "Fortran runtime error: No space left on device", Reason.RESOURCE, None),
    ("memory", "slurmstepd: error: Detected 1 oom-kill event(s) in step 5.0 cgroup", Reason.MEMORY, None),
    ("memory", "forrtl: severe (41): insufficient virtual memory", Reason.MEMORY, None),
    # PW/src/add_vuspsi.f90, routine add_vuspsi_nc.
    ("memory", "      error allocating ps ", Reason.MEMORY, "error allocating ps"),
    # PW/src/lchk_tauxk.f90, routine check_atoms.
    (
        "overlap",
        "atoms #   1 and #   2 differ by lattice vector ( 1, 0, 0)",
        Reason.INPUT,
        " differ by lattice vector (",
    ),
    # PW/src/setup.f90, routine setup.
    ("too few bands", "     too few spin up bands", Reason.INPUT, "too few spin up bands"),
    ("too few bands", "     too few spin dw bands", Reason.INPUT, "too few spin dw bands"),
    # PW/src/bp_c_phase.f90, routine c_phase, and others that compute polarizations.
    ("symmetry", "   probably because G_par is NOT a reciprocal lattice vector", Reason.ENGINE, "G_par is NOT"),
    # KS_Solvers/PPCG/ppcg_k.f90, routines cholQR and cholQR_dmat of ppcg_k: no errore, it says so and ends with 0.
    ("eigenvectors", "     [Q, R] = qr(X, 0) failed", Reason.ENGINE, "[Q, R] = qr(X, 0) failed"),
    # PW/src/cdiagh.f90, routine cdiagh, by which orbitals of DFT+U are made orthogonal.
    ("eigenvectors", "     diagonalization (ZHEEV) failed", Reason.ENGINE, "diagonalization (ZHEEV) failed"),
]


@pytest.mark.parametrize(("name", "line", "reason", "own"), LINES)
def test_a_line_that_is_known_is_recognised(name: str, line: str, reason: Reason, own: str | None) -> None:
    sign = Scanner(failures.TABLE).scan(["all is well", line])
    assert sign is not None
    assert (sign.signature.name, sign.signature.reason) == (name, reason)
    where = program.find("pw.x")
    assert where is not None
    if own is not None:
        assert own in line
        assert own.encode() in where.read_bytes()


@pytest.mark.parametrize("line", ["     ecutrho < 4*ecutwfc, are you sure?", "     BEWARE: negative dexx:  -1.0E-05"])
def test_a_line_after_which_pwx_goes_on_is_no_failure(line: str) -> None:
    assert Scanner(failures.TABLE).scan([line]) is None


def test_each_row_of_the_table_is_shown_by_a_run_that_fails_so() -> None:
    singly = {"stopped", "no k-points", "disk", "memory", "eigenvectors", "broyden"}
    shown = {run[0] for run in RUNS} | {run[0] for run in PROVOKED} | singly
    assert shown == {signature.name for signature in failures.TABLE}


def test_what_is_corrected_and_where_that_ends() -> None:
    bands = Scanner(failures.TABLE).scan(["too many bands are not converged"])
    assert bands is not None
    tried = [bands.error("pw.x", {"diagonalization": name}).correction for name in ("david", "paro", "cg")]
    assert [each.changes["diagonalization"] if each else None for each in tried] == ["paro", "cg", None]
    assert failures.mix_less({"mixing_beta": 0.5, "scf_iterations": 100}).changes == {
        "mixing_beta": 0.35,
        "scf_iterations": 150,
    }
    assert failures.mix_less({"mixing_beta": 0.06}) is None
    assert failures.larger_cell({}).changes == {"cell_factor": 4.0}
    assert failures.larger_cell({"cell_factor": 8.0}) is None
    history = failures.smaller_trust({"input": {"ions": {"upscale": 10}}})
    assert history.changes == {"input": {"ions": {"upscale": 10, "trust_radius_min": pytest.approx(1e-4)}}}
    assert failures.smaller_trust({"input": {"ions": {"trust_radius_min": 1e-7}}}) is None


# -- by the engine -----------------------------------------------------------------------------------------------------


def test_an_scf_cycle_that_does_not_converge_does_after_corrections(pw: Runner) -> None:
    given = {**FAST, "scf_iterations": 3}
    with pytest.raises(EngineError, match="convergence NOT achieved after") as caught:
        pw(silicon(shift=0.1), "static", **given)
    assert caught.value.reason is Reason.CONVERGENCE
    corrections = [caught.value.correction]
    assert corrections[0].changes == {"mixing_beta": 0.49, "scf_iterations": 6}
    while (correction := corrections[-1]) is not None:
        given |= correction.changes
        corrections.append(_correction_after(pw, given, silicon(shift=0.1)))
    assert 2 <= len(corrections) <= 6
    assert pw(silicon(shift=0.1), "static", **given)["converged"] is True


def _correction_after(pw: Runner, given: dict[str, Any], atoms: Atoms) -> Correction | None:
    try:
        pw(atoms, "static", **given)
    except EngineError as error:
        return error.correction
    return None


def test_a_relaxation_out_of_steps_goes_on_from_its_last_structure(pw: Runner) -> None:
    start = silicon(shift=0.2)
    how = {**FAST, "fmax": 0.005}
    first = pw.context(checkpoint_interval=3600.0)
    with pytest.raises(EngineError, match="maximum number of steps") as caught:
        pw(start, "relax", first, **how, steps=1)
    correction = caught.value.correction
    assert (caught.value.reason, correction.changes, correction.from_start) == (Reason.CONVERGENCE, {"steps": 2}, False)
    assert (first.steps, first.checkpoint_made) == ([0, 1], [1])
    second = pw.context(checkpoints=find([first.place]).checkpoints)
    rest = pw(start, "relax", second, **how, steps=20)
    assert second.steps[0] == 1
    assert second.series("fmax")[1] < first.series("fmax")[0]
    assert rest["fmax"] <= 0.005


def test_pwx_says_converged_where_nothing_has_and_the_results_say_so(pw: Runner) -> None:
    loose = {"electrons": {"scf_must_converge": False}}
    run = pw(silicon(shift=0.1), "static", **FAST, scf_iterations=2, input=loose)
    said = (run.context.workdir / "espresso.out").read_text()
    assert "convergence has been achieved" in said
    assert run["converged"] is False
    assert "the SCF cycle has not converged, whatever pw.x says: its energy is still uncertain by" in run["caveat"]
    assert any("has not converged" in line for line in run.context.logged)
    assert pw(silicon(), "static", **FAST)["converged"] is True


def test_dynamics_are_judged_by_all_their_cycles(pw: Runner) -> None:
    loose = {"electrons": {"scf_must_converge": False}}
    run = pw(silicon(shift=0.1), "md", **FAST, steps=2, scf_iterations=3, input=loose)
    assert run["converged"] is False
    found = re.search(r"the SCF cycle has not converged in (\d) of 3 steps", run["caveat"])
    assert found is not None
    assert int(found.group(1)) == int((run.context.series("scf_accuracy") > 1e-8).sum()) > 0


def test_a_metal_with_too_few_bands_gets_more(pw: Runner) -> None:
    """pw.x puts electrons into the bands that there are, and says nothing."""
    metal = {**SILICON, "smearing": "gaussian", "degauss": 0.05}
    with pytest.raises(
        EngineError, match=r"too few bands: at some k-point the highest of 5 is occupied to \S+ %"
    ) as few:
        pw(silicon(), "static", **metal, nbnd=5)
    assert few.value.correction is not None
    assert few.value.correction.changes == {"nbnd": 9}
    corrected, free = (pw(silicon(), "static", **metal, **more) for more in (few.value.correction.changes, {}))
    assert corrected["energy"] == pytest.approx(free["energy"], abs=1e-5)
    # Of dynamics each step counts, so all are made again.
    with pytest.raises(EngineError, match="too few bands") as moving:
        pw(silicon(), "md", **metal, nbnd=5, steps=2)
    assert moving.value.correction is not None
    assert (moving.value.correction.changes, moving.value.correction.from_start) == ({"nbnd": 9}, True)
    assert not few.value.correction.from_start
    # Without smearing there is no room above, and none is needed.
    assert pw(silicon(), "static", **SILICON, nbnd=4)["converged"]


def test_eigenvalues_count_as_missed_only_in_the_last_iteration() -> None:
    reader = Reader(natoms=2)
    for line in (
        "     iteration #  1     ecut=    20.00 Ry     beta= 0.70",
        "     c_bands:  2 eigenvalues not converged",
    ):
        reader.feed(line)
    assert reader.missed == 2
    reader.feed("     c_bands:  1 eigenvalues not converged")
    assert reader.missed == 3
    reader.feed("     iteration #  2     ecut=    20.00 Ry     beta= 0.70")
    assert reader.missed == 0


def test_a_relaxation_that_goes_bad_leaves_a_checkpoint_too(pw: Runner, stand_in: Callable[[str], None]) -> None:
    # The energy of the third step's first iteration is lost.
    stand_in("""$PW "$@" | stdbuf -oL awk '/^!/ {n++} n == 2 && /^ +total energy/ {sub(/-[0-9.]+/, "********")} 1'""")
    context = pw.context(checkpoint_interval=3600.0)
    with pytest.raises(EngineError, match="no longer finite"):
        pw(silicon(shift=0.2), "relax", context, **FAST, fmax=0.005)
    assert (context.steps, context.checkpoint_made) == ([0, 1], [1])


def test_a_cell_that_shrinks_too_far_gets_more_plane_waves(pw: Runner) -> None:
    with pytest.raises(EngineError, match="larger cell_factor") as caught:
        pw(SHRINKING[0], "vc_relax", **SHRINKING[1], cell_factor=1.0)
    assert caught.value.correction is not None
    assert caught.value.correction.changes == {"cell_factor": 2.0}


def test_a_killed_pwx_is_taken_for_one_without_memory(pw: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    context = pw.context()

    def kill(step: int) -> None:
        os.kill(int((context.workdir / "espresso.pid").read_text()), signal.SIGKILL)

    monkeypatch.setattr(context, "progress", kill)
    with pytest.raises(EngineError, match="memory ran out") as caught:
        pw(silicon(shift=0.1), "relax", context, **{**SILICON, "kpts": (4, 4, 4)})
    assert caught.value.reason is Reason.MEMORY


def test_a_cycle_that_diverges_is_stopped_early_and_converges_after_corrections(pw: Runner) -> None:
    given = SLOSHING[1]
    context = pw.context()
    with pytest.raises(EngineError, match=r"SCF cycle was stopped at iteration \d+, since it diverges") as caught:
        pw(SLOSHING[0], "static", context, **given)
    assert (caught.value.reason, caught.value.correction.changes["mixing_beta"]) == (Reason.CONVERGENCE, 0.49)
    assert context.steps[-1] < 60
    correction = caught.value.correction
    for _ in range(5):
        given |= correction.changes
        correction = _correction_after(pw, given, SLOSHING[0])
        if correction is None:
            break
    assert 0.2 < given["mixing_beta"] < 0.5
    assert pw(SLOSHING[0], "static", **given)["converged"] is True


def test_a_cycle_that_need_not_converge_is_not_stopped(pw: Runner) -> None:
    given = {**SLOSHING[1], "mixing_beta": 1.0, "scf_iterations": 32}
    loose = {"electrons": {**given["input"]["electrons"], "scf_must_converge": False}}
    run = pw(SLOSHING[0], "static", **{**given, "input": loose})
    assert (run["converged"], run["scf_iterations"]) == (False, 32)


def test_a_pwx_that_says_nothing_for_long_is_stopped(pw: Runner) -> None:
    long = {**SILICON, "ecutwfc": 60, "kpts": (4, 4, 4)}
    with pytest.raises(EngineError, match=r"pw\.x has said nothing for 0.01 s and was stopped"):
        pw(silicon(shift=0.1), "static", **long, silence=0.01)


def test_a_pwx_that_says_nothing_is_stopped_after_what_the_host_says(
    pw: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NANOOS_SILENCE", "0.01")
    long = {**SILICON, "ecutwfc": 60, "kpts": (4, 4, 4)}
    with pytest.raises(EngineError, match=r"pw\.x has said nothing for 0.01 s and was stopped"):
        pw(silicon(shift=0.1), "static", **long)
    assert pw(silicon(shift=0.1), "static", **SILICON, silence=0)["converged"]


@pytest.mark.parametrize("task", ["static", "bands"])
def test_a_run_that_ends_well_without_results_has_failed(
    pw: Runner, stand_in: Callable[[str], None], task: str
) -> None:
    stand_in("""sed -i "s/&control/&\\n disk_io = 'none'/" espresso.in; exec $PW "$@" """)
    with pytest.raises(EngineError, match="without results"):
        pw(silicon(shift=0.1), task, **FAST)


def test_a_run_whose_energy_is_no_number_is_stopped(pw: Runner, stand_in: Callable[[str], None]) -> None:
    line = "     total energy              =     ************** Ry"
    says = f"printf '%s\\n' '{line}' '     estimated scf accuracy    <       NaN Ry'"
    stand_in(f"{says}\nexec sleep 600")
    with pytest.raises(EngineError, match="no longer finite"):
        pw(silicon(), "static", **FAST)
