"""Whether a run of VASP has worked: by facts in its output, not by its exit code alone; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import EngineError
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.signatures import Scanner
from nanoos_lab.engines.vasp import corrections, failures
from nanoos_lab.engines.vasp.parameters import VaspMDParameters, VaspRelaxParameters

if TYPE_CHECKING:
    from nanoos_lab.engines.vasp.outcar import Facts
    from nanoos_lab.engines.vasp.parameters import Given

#: Signals that come from a lack of memory as a rule: SIGKILL, and bash's way to say so.
_KILLED = (-9, 137)
#: Share of the steps of molecular dynamics whose SCF cycle may end unconverged. A few come by chance, such as the first
#: step from a poor guess, and the next one starts better; more than one in ten means that the settings do not suit the
#: system, and the energy drifts.
_UNCONVERGED = 0.1
_CALM = "Try another algorithm or less mixing (ALGO, AMIX, BMIX in incar), or more smearing."


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a run has ended."""

    #: Exit code, negative for a signal.
    code: int
    #: What the OUTCAR says.
    facts: Facts
    #: Last step of the task that was computed; None if none was.
    step: int | None
    #: Largest force on an atom that may move, in eV/Å.
    fmax: float = float("inf")
    #: The end of the error stream.
    errors: str = ""


class Signs:
    """Looks for what VASP says when it fails.

    Parameters
    ----------
    given
        The task's parameters.
    """

    def __init__(self, given: Given) -> None:
        tag, name = failures.CHARGED
        charged = tag in given.incar
        self._fatal = Scanner([each for each in failures.FATAL if not (charged and each.name == name)])
        self._hints = Scanner(failures.HINTS)

    def feed(self, line: str) -> bool:
        """Look at a line of the output; return whether it says that the run is worthless."""
        self._hints.feed(line)
        return self._fatal.feed(line) is not None

    def fatal(self, parameters: dict[str, Any]) -> EngineError | None:
        """Return the error for what makes a run worthless, if there was anything."""
        sign = self._fatal.worst
        return None if sign is None else sign.error("VASP", parameters)

    def hint(self, parameters: dict[str, Any]) -> EngineError | None:
        """Return the error for what VASP warned of, if it did."""
        sign = self._hints.worst
        return None if sign is None else sign.error("VASP", parameters)

    @property
    def about_scf(self) -> bool:
        """Whether that has to do with the SCF cycle."""
        sign = self._hints.worst
        return sign is not None and sign.signature.name not in failures.OF_STEPS


def correctable(given: Given, facts: Facts) -> dict[str, Any]:
    """Return the parameters from which corrections are made."""
    parameters = given.model_dump(mode="json")
    return parameters if facts.bands is None else {**parameters, corrections.BANDS: facts.bands}


def judge(given: Given, ending: Ending, signs: Signs) -> EngineError | None:
    """Return what is wrong with a run that has ended by itself; None if nothing is.

    Parameters
    ----------
    given
        The task's parameters.
    ending
        The facts.
    signs
        What was found in the output.
    """
    parameters = correctable(given, ending.facts)
    for line in ending.errors.splitlines():
        signs.feed(line)
    if (error := signs.fatal(parameters)) is not None:
        return error
    if ending.code in _KILLED:
        # Whatever it has warned of before, it did not end because of that.
        return _broken_off(ending)
    if ending.code != 0 or not ending.facts.finished or ending.step is None:
        return signs.hint(parameters) or _broken_off(ending)
    if not _trusted(given, ending.facts):
        return _not_converged(given, ending, signs.hint(parameters) if signs.about_scf else None, parameters)
    if isinstance(given, VaspRelaxParameters):
        return _relaxed(given, ending, parameters)
    if isinstance(given, VaspMDParameters) and ending.step < given.steps:
        return EngineError(
            f"VASP ended after {ending.step} of {given.steps} steps", reason=Reason.ENGINE, remedy=failures.LOOK
        )
    return None


def _trusted(given: Given, facts: Facts) -> bool:
    """Whether enough SCF cycles have converged: the last one, or most of them where each step is a result."""
    if isinstance(given, VaspMDParameters):
        return facts.unconverged <= _UNCONVERGED * facts.steps
    return facts.scf_converged


def _broken_off(ending: Ending) -> EngineError:
    last = ending.errors.splitlines()[-1] if ending.errors else ""
    how = f"was killed by signal {-ending.code}" if ending.code < 0 else f"ended with exit code {ending.code}"
    where = "before its first ionic step was done" if ending.step is None else f"after step {ending.step}"
    said = f": {last}" if last else ""
    if ending.code in _KILLED:
        return EngineError(
            f"VASP was killed {where}, as a rule because memory ran out{said}",
            reason=Reason.MEMORY,
            remedy="Ask for more ranks on more nodes, a lower encut or fewer k-points.",
        )
    return EngineError(
        f"VASP {how} {where}, without its closing words{said}", reason=Reason.ENGINE, remedy=failures.LOOK
    )


def given_up(given: Given, facts: Facts, iteration: int, why: str, *, first: int) -> EngineError | None:
    """Return the error for an SCF cycle that will not converge; None if the run can do without it.

    Parameters
    ----------
    given
        The task's parameters.
    facts
        What the OUTCAR says so far.
    iteration, why
        When it would be given up, and for what reason.
    first
        Step at which this attempt began.
    """
    correction = corrections.next_algorithm(correctable(given, facts))
    if isinstance(given, VaspMDParameters):
        if facts.unconverged + 1 <= _UNCONVERGED * (given.steps - first + 1):
            return None
        correction = correction and replace(correction, from_start=True)
    if isinstance(given, VaspRelaxParameters) and (facts.steps == 0 or facts.scf_converged):
        # VASP goes on to the next step, which begins with a better guess; only the last cycle has to converge.
        return None
    return EngineError(
        f"the SCF cycle was stopped at iteration {iteration}, since {why}",
        reason=Reason.CONVERGENCE,
        remedy=_CALM,
        correction=correction,
    )


def _not_converged(given: Given, ending: Ending, hint: EngineError | None, parameters: dict[str, Any]) -> EngineError:
    nelm = ending.facts.settings.get("NELM")
    why = f" in {int(nelm)} iterations" if nelm is not None else ""
    correction = (hint.correction if hint is not None else None) or corrections.next_algorithm(parameters)
    if isinstance(given, VaspMDParameters):
        why += f" at {ending.facts.unconverged} of {ending.facts.steps} steps"
        # The steps that there are cannot be trusted, so the next attempt must not go on from them.
        correction = correction and replace(correction, from_start=True)
    return EngineError(
        f"the SCF cycle did not converge{why}" + (f"; {hint.message}" if hint is not None else ""),
        reason=Reason.CONVERGENCE,
        remedy=f"Try more iterations (nelm). {_CALM}",
        correction=correction,
    )


def _relaxed(given: VaspRelaxParameters, ending: Ending, parameters: dict[str, Any]) -> EngineError | None:
    if ending.facts.accurate or (given.cell == "fixed" and ending.fmax <= given.fmax):
        return None
    return EngineError(
        f"the relaxation did not converge: fmax is {ending.fmax:.4g} eV/Å after {ending.step} steps, not "
        f"{given.fmax:g} eV/Å",
        reason=Reason.CONVERGENCE,
        remedy="Go on with more steps, or try another optimizer or a larger fmax.",
        correction=corrections.more_steps(parameters),
    )
