"""Every error of nanoos_lab, sorted by what the caller can do next.

::

    NanoosError
    ├── SettingsError            set an environment variable or a file right
    ├── InputError               change the arguments of the call (also a ValueError)
    │   ├── UnknownNameError     a name that does not exist; carries the nearest one
    │   │   └── UnknownResultError   the job has no such result (also a KeyError)
    │   ├── ParameterError       a parameter with a wrong value; carries field, value and what is allowed
    │   └── StructureError       a structure that no engine can run
    ├── JobNotFoundError         no job of that id in this store (also a KeyError)
    ├── TransitionError          the job is no longer in the status that was expected
    ├── JobError                 the job has ended without a result
    │   ├── JobFailedError       its engine, worker or limits ended it; carries the reason and a remedy
    │   └── JobCancelledError    somebody cancelled it (also a concurrent.futures.CancelledError)
    ├── ServiceError             a service does not answer
    │   ├── StoreError           the database
    │   │   └── SchemaError      the database belongs to another version of nanoos_lab
    │   └── BrokerError          the Redis-compatible server
    └── EngineError              raised by engines inside a worker; becomes a JobFailedError for the user
        └── NotInstalledError    the worker's host lacks a program, and will until somebody installs it
"""

from __future__ import annotations

from concurrent.futures import CancelledError
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

from nanoos_lab.core.status import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nanoos_lab.core.record import Correction


#: Most characters of a user's value in a message.
_LONGEST = 200
#: Most allowed names in a message, and how many of more.
_MOST, _SOME = 60, 8


class NanoosError(Exception):
    """Base of every error that nanoos_lab raises on purpose."""


class SettingsError(NanoosError):
    """A setting is missing or contradicts another one."""


class InputError(NanoosError, ValueError):
    """The call cannot be carried out as it was written; nothing was stored or queued."""


class UnknownNameError(InputError):
    """A name that is not among the allowed ones; `instead` says what else the user may mean, in whole sentences."""

    _heading: ClassVar[str] = "Allowed"

    def __init__(self, field: str, value: object, allowed: Iterable[str], instead: str = "") -> None:
        self.field = field
        self.value = value
        self.allowed = tuple(sorted(allowed))
        self.nearest = nearest(value if isinstance(value, str) else shown(value), self.allowed)
        hint = f" Did you mean {self.nearest!r}?" if self.nearest else ""
        message = f"unknown {field} {shown(value)}.{hint} {self._heading}: {_listed(self.allowed, value)}."
        super().__init__(f"{message} {instead}" if instead else message)


class UnknownResultError(UnknownNameError, KeyError):
    """The job has no such result."""

    _heading = "There are"

    def __init__(self, name: object, there: Iterable[str]) -> None:
        super().__init__("result", name, there)

    def __str__(self) -> str:
        """Say it in words: KeyError would show them in quotes."""
        return str(self.args[0])


class ParameterError(InputError):
    """A parameter has a value that is not allowed."""

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        super().__init__(f"{field}={shown(value)} is not allowed: {allowed}.")


class StructureError(InputError):
    """The structure cannot be simulated."""


class JobNotFoundError(NanoosError, KeyError):
    """There is no such job in this store."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(job_id)

    def __str__(self) -> str:
        """Say it in words: KeyError would show the bare id."""
        return f"there is no job {shown(self.job_id)} in this store; nanoos_lab.jobs() lists those that exist"


class TransitionError(NanoosError):
    """The job was not in the expected status and attempt, so nothing was changed."""


class JobError(NanoosError):
    """The job has ended without a result."""

    def __init__(self, message: str, *, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(message)


class JobFailedError(JobError):
    """The job failed; `reason` says in which class of failure, `remedy` what to do next."""

    def __init__(self, message: str, *, job_id: str, reason: Reason, remedy: str = "") -> None:
        self.reason = reason
        self.remedy = remedy
        text = f"job {job_id} failed ({reason}): {message}"
        super().__init__(f"{text}\n{remedy}" if remedy else text, job_id=job_id)


class JobCancelledError(JobError, CancelledError):
    """The job was cancelled."""

    def __init__(self, *, job_id: str) -> None:
        super().__init__(f"job {job_id} was cancelled", job_id=job_id)


class ServiceError(NanoosError):
    """A service that nanoos_lab needs does not answer."""


class StoreError(ServiceError):
    """The database does not answer."""


class SchemaError(StoreError):
    """The database was made by another version of nanoos_lab."""


class BrokerError(ServiceError):
    """The Redis-compatible server does not answer."""


class EngineError(NanoosError):
    """An engine could not finish its run.

    Parameters
    ----------
    message
        What failed and why, with the program's own words.
    reason
        The class of the failure; decides whether another attempt makes sense.
    remedy
        One sentence: what the user can do next.
    correction
        What another attempt may do differently, if the engine knows a way around.
    """

    def __init__(self, message: str, *, reason: Reason, remedy: str = "", correction: Correction | None = None) -> None:
        self.message = message
        self.reason = reason
        self.remedy = remedy
        self.correction = correction
        super().__init__(message)


class NotInstalledError(EngineError):
    """The worker's host lacks a program or a library: another attempt there would lack it, too.

    Parameters
    ----------
    message
        What is not there, and which setting names it.
    how
        How to get it, without a full stop.
    """

    def __init__(self, message: str, how: str) -> None:
        remedy = (
            f"On the worker's host, {how}; then job.retry() tries it again. A variable counts for workers that are "
            "started with it. Or submit the job to a queue of workers that have it."
        )
        super().__init__(message, reason=Reason.RESOURCE, remedy=remedy)


def shown(value: object) -> str:
    """Say a value of a user's in one short text, however long it is and whatever it says of itself."""
    try:
        text = repr(value)
    except Exception:
        # Such as a list in itself, or an integer of more digits than Python writes.
        return f"a {type(value).__qualname__}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 30]}…{text[-20:]}"


def _listed(allowed: tuple[str, ...], value: object) -> str:
    """Return all allowed names, or of very many those that are like a value."""
    if len(allowed) <= _MOST:
        return ", ".join(allowed) or "none"
    some = _alike(value if isinstance(value, str) else shown(value), allowed)
    return f"{', '.join(some)}, and {len(allowed) - len(some):,} others"


def _alike(value: str, allowed: tuple[str, ...]) -> list[str]:
    """Return some names: those that have `value` in them, those that are like it, those that begin as it does."""
    text = value[:_LONGEST].lower()
    names = {name.lower(): name for name in allowed}
    within = [name for name in names if len(text) > 2 and text in name]
    close = get_close_matches(text, names, n=_SOME, cutoff=0.5)
    begin = sorted(names, key=lambda name: _shared(text, name), reverse=True)
    return [names[name] for name in list(dict.fromkeys([*within, *close, *begin]))[:_SOME]]


def _shared(one: str, other: str) -> int:
    """Return the number of letters with which both begin."""
    return next((index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))


def nearest(value: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name that is most like `value`, or None when none is near."""
    names = {name.lower(): name for name in allowed}
    found = get_close_matches(value[:_LONGEST].lower(), names, n=1, cutoff=0.6)
    return names[found[0]] if found else None
