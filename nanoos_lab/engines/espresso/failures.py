"""How runs of pw.x fail: signatures in its output, and the verdict from exit code, end mark and what was read.

Neither the exit code nor the end mark tells alone: pw.x says "JOB DONE." after many a failure, and ends with 0 and the
words "convergence has been achieved" where `scf_must_converge` is false and nothing has converged.

Messages: routine names and texts of pw.x's ``errore`` calls, pw.x 6.7.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.record import Correction
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.espresso.parameters import DIAGONALIZATIONS
from nanoos_lab.engines.signatures import Signature, ladder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from nanoos_lab.engines.espresso.output import Reader
    from nanoos_lab.engines.espresso.response import Reader as ResponseReader
    from nanoos_lab.engines.signatures import Sign

    Array = np.ndarray[Any, Any]

#: Share of `mixing_beta` that is left after a cycle that did not converge, and where that ends.
_MIXING, _LEAST_MIXING = 0.7, 0.05
#: Occupation up to which a band counts as empty; aiida-quantumespresso has the same.
_EMPTY = 0.005
#: Largest `cell_factor` that a correction sets.
_LARGEST_CELL = 8.0
#: How much smaller a correction makes the least step of the optimiser, and where that ends, in Bohr; pw.x's default.
_TRUST, _LEAST_TRUST, _USUAL_TRUST = 0.1, 1e-7, 1e-3
#: Most iterations towards a response that ph.x 6.7 takes, its ``maxter``.
MOST_RESPONSE = 100


def mix_less(parameters: Mapping[str, Any]) -> Correction | None:
    """Mix less of the new density, and allow more iterations, which that needs."""
    before = float(parameters.get("mixing_beta", 0.7))
    after = round(before * _MIXING, 4)
    if after < _LEAST_MIXING:
        return None
    iterations = int(parameters.get("scf_iterations", 100))
    more = 2 * iterations if iterations < 50 else iterations + 50
    return Correction(
        changes={"mixing_beta": after, "scf_iterations": more},
        why=f"no SCF convergence, so mixing_beta {before:g} → {after:g} and scf_iterations {iterations} → {more}",
    )


def mix_response_less(parameters: Mapping[str, Any]) -> Correction | None:
    """Mix less of the new potential towards a response, with as many iterations as ph.x can make."""
    before = float(parameters.get("response_mixing", 0.7))
    after = round(before * _MIXING, 4)
    iterations = int(parameters.get("response_iterations", MOST_RESPONSE))
    more = min(2 * iterations, MOST_RESPONSE)
    if after < _LEAST_MIXING:
        return None
    return Correction(
        changes={"response_mixing": after, "response_iterations": more},
        why=f"the response did not converge, so response_mixing {before:g} → {after:g} and response_iterations "
        f"{iterations} → {more}",
    )


def more_steps(parameters: Mapping[str, Any]) -> Correction | None:
    """Go on from the last structure with as many steps again."""
    before = int(parameters.get("steps", 100))
    after = 2 * before if before else 50
    return Correction(
        changes={"steps": after}, why=f"the optimiser was still on its way: steps {before} → {after}, from where it was"
    )


def more_bands(bands: int, *, from_start: bool) -> Correction:
    """Have more bands: a twentieth more, four at least."""
    after = bands + max(4, math.ceil(bands / 20))
    why = f"the highest band is occupied, so nbnd {bands} → {after}"
    return Correction(changes={"nbnd": after}, why=why, from_start=from_start)


def larger_cell(parameters: Mapping[str, Any]) -> Correction | None:
    """Allow the cell to change more."""
    before = float(parameters.get("cell_factor") or 2.0)
    after = 2 * before
    if after > _LARGEST_CELL:
        return None
    return Correction(
        changes={"cell_factor": after}, why=f"the cell shrank too far for its plane waves: cell_factor → {after:g}"
    )


def smaller_trust(parameters: Mapping[str, Any]) -> Correction | None:
    """Let the optimiser make smaller steps."""
    given = parameters.get("input", {})
    before = float(given.get("ions", {}).get("trust_radius_min", _USUAL_TRUST))
    after = before * _TRUST
    if after < _LEAST_TRUST:
        return None
    changed = {**given, "ions": {**given.get("ions", {}), "trust_radius_min": after}}
    return Correction(changes={"input": changed}, why=f"BFGS was stuck: trust_radius_min {before:g} → {after:g} Bohr")


_OTHER_DIAGONALIZATION = ladder(
    "diagonalization", DIAGONALIZATIONS, "the diagonalization failed: {before} → {after}", default="david"
)
_SYMMETRY = "Make the structure exactly symmetric, or switch symmetry off: input={'system': {'nosym': True}}."


def _input(name: str, pattern: str, meaning: str, remedy: str) -> Signature:
    return Signature(name=name, pattern=pattern, reason=Reason.INPUT, meaning=meaning, remedy=remedy)


def _diagonalization(name: str, pattern: str) -> Signature:
    return Signature(
        name=name,
        pattern=pattern,
        reason=Reason.ENGINE,
        meaning="the bands could not be found",
        remedy="Use another diagonalization ('paro', 'cg'), a better start, or check the structure.",
        correct=_OTHER_DIAGONALIZATION,
    )


#: Name of the signature of a run that has made all its steps.
STEPS = "steps"
#: The signatures, the most telling first.
TABLE: tuple[Signature, ...] = (
    _input(
        "no pseudopotential",
        r"file .* not (?:found|readable)",
        "a pseudopotential file is not there or cannot be read",
        "Check the directory of pseudopotentials and submit again.",
    ),
    _input(
        "namelist",
        r"bad line in namelist|could not find namelist",
        "pw.x does not understand its input",
        "Check the keywords and the types of their values in `input`.",
    ),
    _input(
        "functionals",
        r"conflicting values for|set_dft_from_name",
        "the pseudopotentials are of different functionals",
        "Choose pseudopotentials of one functional.",
    ),
    _input(
        "dispersion",
        r"program stopped due to: *functional name unknown",
        "the dispersion correction DFT-D3 has no parameters for the functional",
        "Choose pseudopotentials of another functional, such as PBE, or another vdw_corr.",
    ),
    _input("overlap", r"atoms #.*(?:overlap|differ by lattice vector)", "two atoms overlap", "Move them apart."),
    _input(
        "charge is wrong",
        r"charge is wrong",
        "the electrons cannot be put into whole levels",
        "Choose a smearing, such as smearing='marzari-vanderbilt'.",
    ),
    _input(
        "too few bands",
        r"too few (?:spin (?:up|dw) )?bands$",
        "there are fewer bands than electrons need",
        "Leave nbnd out, or make it larger.",
    ),
    _input(
        "too many bands",
        r"more bands than PWs|too many bands, or too few plane waves",
        "there are more bands than plane waves to make them of",
        "Make nbnd smaller, or ecutwfc larger.",
    ),
    _input(
        "cut-offs",
        r"ecutrho <= ecutwfc",
        "the cut-off of the density is too small",
        "Make ecutrho at least 4 times ecutwfc.",
    ),
    _input("not implemented", r"not implemented|not allowed", "pw.x cannot do what the input asks for", "Change it."),
    Signature(
        name="directory",
        pattern=r"temporary directory .* cannot be created",
        reason=Reason.RESOURCE,
        meaning="its files cannot be written",
        remedy="Look at the free space and the permissions on the worker's host.",
    ),
    Signature(
        name="disk",
        pattern=r"No space left on device|error writing|Disk quota exceeded",
        reason=Reason.RESOURCE,
        meaning="there is no room for its files",
        remedy="Free space on the worker's host.",
    ),
    Signature(
        name="memory",
        pattern=r"oom-kill|[Cc]annot allocate|[Ee]rror allocating|Allocation would exceed|"
        r"[Ii]nsufficient virtual memory",
        reason=Reason.MEMORY,
        meaning="there was not enough memory",
        remedy="Use a smaller cell, cut-off or mesh of k-points, or a host with more memory.",
    ),
    Signature(
        name="cell factor",
        pattern=r"larger cell_factor",
        reason=Reason.ENGINE,
        meaning="the cell changed more than its plane waves allow",
        remedy="Use a larger cell_factor, or start from a cell nearer to the relaxed one.",
        correct=larger_cell,
    ),
    Signature(
        name="symmetry",
        pattern=r"not orthogonal operation|NOT a reciprocal lattice vector|symmetry operation is not orthogonal",
        reason=Reason.ENGINE,
        meaning="symmetry and the mesh of k-points no longer go together",
        remedy=_SYMMETRY,
    ),
    _diagonalization(
        "cholesky", r"problems computing cholesky|S matrix not positive definite|(?:zhegvd|dsygvd) failed"
    ),
    _diagonalization("bands not converged", r"too many bands are not converged"),
    _diagonalization(
        "eigenvectors",
        r"eigenvectors failed to converge|\[Q, R\] = qr\(X, 0\) failed|diagonalization \(ZHEEV\) failed",
    ),
    _diagonalization("broyden", r"Error in routine +broyden"),
    Signature(
        name="no k-points",
        pattern=r"some nodes have no k-points",
        reason=Reason.RESOURCE,
        meaning="there are more pools of ranks than k-points",
        remedy="Ask for fewer ranks.",
    ),
    Signature(
        name="SCF not converged",
        pattern=r"convergence NOT achieved after",
        reason=Reason.CONVERGENCE,
        meaning="the SCF cycle did not converge",
        remedy="Use a smaller mixing_beta, more scf_iterations or a smearing; check structure and magnetic moments.",
        correct=mix_less,
    ),
    Signature(
        name="BFGS history",
        pattern=r"history already reset at previous step",
        reason=Reason.CONVERGENCE,
        meaning="the optimiser found no way down any more",
        remedy="Use a smaller conv_thr, so that forces are more exact, a larger fmax, or move an atom a little.",
        correct=smaller_trust,
    ),
    Signature(
        name=STEPS,
        pattern=r"The maximum number of steps has been reached",
        reason=Reason.CONVERGENCE,
        meaning="the relaxation did not converge within its steps",
        remedy="Start again from the last frame of the trajectory, with more steps or a larger fmax.",
        correct=more_steps,
    ),
    Signature(
        name="stopped",
        pattern=r"Program stopped by user request",
        reason=Reason.RESOURCE,
        meaning="somebody stopped it by a file pwscf.EXIT",
        remedy="Submit it again.",
    ),
    Signature(
        name="time",
        pattern=r"Maximum CPU time exceeded",
        reason=Reason.TIME_LIMIT,
        meaning="its time is used up",
        remedy="Submit it again with a larger limit.",
    ),
)

_NO_RESPONSE = (
    "Use a smaller response_mixing or a larger response_thr; check that the structure is an insulator if there is no "
    "smearing."
)
#: The same for ph.x; a response that has not converged it mostly does not tell.
RESPONSE_TABLE: tuple[Signature, ...] = (
    _input(
        "not available",
        r"not (?:yet )?(?:available|implemented|tested|working)|not programed|no elec\. field with metals",
        "ph.x cannot do what is asked for",
        "Change it, or take the workflow `phonons`, which needs only forces.",
    ),
    *(one for one in TABLE if one.name in ("directory", "disk", "memory")),
    Signature(
        name="response not converged",
        pattern=r"No convergence has been achieved",
        reason=Reason.CONVERGENCE,
        meaning="a response did not converge",
        remedy=_NO_RESPONSE,
        correct=mix_response_less,
    ),
    *(one for one in TABLE if one.name in ("stopped", "time")),
)

#: Worth a line in the log, and no failure by themselves.
_HARMLESS = ("no k-points",)


def verdict(
    reader: Reader, sign: Sign | None, code: int, parameters: Mapping[str, Any], *, words: Sequence[str] = ()
) -> EngineError | None:
    """Judge a run that nobody has stopped; return the error, or None if its results can be used.

    Parameters
    ----------
    reader
        What was read.
    sign
        The most telling signature in output and errors.
    code
        The exit code; negative for a signal.
    parameters
        The task's, for corrections.
    words
        What the program said last, for a failure without a signature.
    """
    failed = code != 0 or not reader.done
    if sign is not None and not (sign.signature.name in _HARMLESS and not failed):
        return sign.error("pw.x", parameters)
    if failed:
        return _unknown(code, words)
    return None


def response_verdict(
    reader: ResponseReader, sign: Sign | None, code: int, parameters: Mapping[str, Any], *, words: Sequence[str] = ()
) -> EngineError | None:
    """Judge a run of ph.x that nobody has stopped, as `verdict` does one of pw.x.

    Where iterations have run out it may say nothing, and end with "JOB DONE." and exit code 1.
    """
    if code == 0 and reader.done:
        return None
    if sign is not None:
        return sign.error("ph.x", parameters)
    last = reader.last
    out_of = last is not None and last.number >= parameters["response_iterations"]
    if last is not None and out_of and last.error > parameters["response_thr"]:
        return EngineError(
            f"a response did not converge: after {last.number} iterations its error is {last.error:.1e}",
            reason=Reason.CONVERGENCE,
            remedy=_NO_RESPONSE,
            correction=mix_response_less(parameters),
        )
    return _unknown(code, words, program="ph.x", stem="ph")


def response_not_finite(parameters: Mapping[str, Any]) -> EngineError:
    """Return the error for responses that are no numbers any more."""
    return EngineError(
        "a response blew up: its error is no longer a finite number",
        reason=Reason.CONVERGENCE,
        remedy=_NO_RESPONSE,
        correction=mix_response_less(parameters),
    )


def unconverged(reader: Reader, conv_thr: float) -> bool:
    """Say whether the last SCF cycle has not converged, whatever pw.x says of it.

    With ``scf_must_converge=.false.`` pw.x 6.7 says "convergence has been achieved" after the last iteration.
    """
    last = reader.last
    return last is None or not last.accuracy <= conv_thr


def is_stuck(iteration: int, why: str, parameters: Mapping[str, Any]) -> EngineError:
    """Return the error for an SCF cycle that gets nowhere."""
    return EngineError(
        f"the SCF cycle was stopped at iteration {iteration}, since {why}",
        reason=Reason.CONVERGENCE,
        remedy="Use a smaller mixing_beta or a smearing; check the structure and its magnetic moments.",
        correction=mix_less(parameters),
    )


def not_finite(parameters: Mapping[str, Any]) -> EngineError:
    """Return the error for energies that are no numbers any more."""
    return EngineError(
        "the calculation blew up: energies are no longer finite numbers",
        reason=Reason.ENGINE,
        remedy="Check the structure for atoms too near to each other, and the cut-offs.",
        correction=mix_less(parameters),
    )


def lack_of_bands(occupations: Array | None, *, from_start: bool = False) -> EngineError | None:
    """Return the error for a metal in which electrons would go to bands that are not there; pw.x does not mind.

    Parameters
    ----------
    occupations
        Those of the bands, shape (spins, k-points, bands); None if they are not known.
    from_start
        Whether what was computed before is of no use either.
    """
    if occupations is None:
        return None
    most, bands = float(occupations[..., -1].max()), occupations.shape[-1]
    if most <= _EMPTY:
        return None
    return EngineError(
        f"there are too few bands: at some k-point the highest of {bands} is occupied to {100 * most:.2g} %, so that "
        "electrons are where they do not belong",
        reason=Reason.CONVERGENCE,
        remedy="Use a larger nbnd, or leave it to pw.x.",
        correction=more_bands(bands, from_start=from_start),
    )


def no_results() -> EngineError:
    """Return the error for a run that ends well and has said nothing of what it was for."""
    return EngineError(
        "pw.x has ended without a word of failure, and without results",
        reason=Reason.ENGINE,
        remedy="The file espresso.out of the job has all that it said.",
    )


def wrong_ranks(asked: int, found: int) -> EngineError:
    """Return the error for a launcher that does not go with the program."""
    return EngineError(
        f"pw.x runs on {found} MPI ranks, not on the {asked} that were asked for",
        reason=Reason.RESOURCE,
        remedy="Set NANOOS_MPIRUN to the mpirun of the MPI with which pw.x was built.",
    )


def _unknown(code: int, words: Sequence[str], *, program: str = "pw.x", stem: str = "espresso") -> EngineError:
    said = " ".join(" ".join(words).split())
    if code in (-9, 137):
        return EngineError(
            f"{program} was killed (signal 9), as a rule because memory ran out",
            reason=Reason.MEMORY,
            remedy="Use a smaller cell, cut-off or mesh of k-points, or a host with more memory.",
        )
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return EngineError(
        f"{program} {how}" + (f"; it says: {said}" if said else ", without a word"),
        reason=Reason.ENGINE,
        remedy=f"The files {stem}.out and {stem}.err of the job have the details.",
    )
