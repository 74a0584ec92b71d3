"""Changes of a job's parameters on its way, checked where they are asked for: nothing wrong reaches the run."""

from __future__ import annotations

import getpass
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import InputError, ParameterError, UnknownNameError
from nanoos_lab.core.parameters import unit_of_field, validate
from nanoos_lab.engines import registry
from nanoos_lab.engines.base import Steers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from nanoos_lab.core.record import Assignment
    from nanoos_lab.engines.registry import Calculation
    from nanoos_lab.worker.services import Services


def checked(services: Services, job_ids: Sequence[str], changes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the changes as plain values, by the id of each job.

    Raises
    ------
    InputError
        If nothing of a job can be changed on its way, and why; if there are several jobs, whatever the first one cannot
        take.
    UnknownNameError
        For a name that the task does not have.
    ParameterError
        For a parameter that cannot be changed on the way, or a value that is not allowed.
    JobNotFoundError
        If there is no such job.
    """
    found = services.store.assignments(job_ids)
    plain = {}
    for job_id, assignment in found.items():
        try:
            plain[job_id] = _checked(assignment, changes)
        except InputError as error:
            if len(found) == 1:
                raise
            text = f"job {job_id} cannot take this, so none of {len(found)} jobs was changed: {error}"
            raise InputError(text) from error
    return plain


def _checked(assignment: Assignment, changes: Mapping[str, Any]) -> dict[str, Any]:
    calculation = registry.calculation(assignment.request.engine, assignment.request.task)
    now = _parameters(assignment)
    steerable = _steerable(calculation, assignment, now)
    if not changes:
        raise InputError(f"name what to change: {', '.join(steerable)}")
    for name, value in changes.items():
        if name not in calculation.parameters.model_fields:
            raise UnknownNameError(f"parameter to steer of {calculation.where}", name, steerable)
        if name not in steerable:
            raise ParameterError(name, value, f"it is fixed once the job exists; steerable are {', '.join(steerable)}")
    then = validate(calculation.parameters, {**now, **changes}, where=calculation.where)
    plain = then.model_dump(mode="json")
    return {name: plain[name] for name in changes}


def steerable(services: Services, job_id: str) -> list[tuple[str, Any, str]]:
    """Return what of a job can be changed on its way: name, value once all that was asked for is applied, and unit.

    Raises
    ------
    JobNotFoundError
        If there is no such job.
    UnknownNameError
        If its engine or task is not installed here.
    """
    assignment = services.store.assignment(job_id)
    calculation = registry.calculation(assignment.request.engine, assignment.request.task)
    now = _parameters(assignment)
    try:
        names = _steerable(calculation, assignment, now)
    except InputError:
        return []
    fields = calculation.parameters.model_fields
    plain = validate(calculation.parameters, now, where=calculation.where).model_dump(mode="json")
    return [(name, plain[name], unit_of_field(fields[name])) for name in names]


def who() -> str:
    """Return the user and the host that ask."""
    user = ""
    with suppress(KeyError, OSError):
        # A container may run a user whom it does not know.
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"


def _parameters(assignment: Assignment) -> dict[str, Any]:
    """Return what holds once all that was asked for so far is applied."""
    parameters = dict(assignment.corrected_request.parameters)
    for one in assignment.steerings:
        parameters |= one.changes
    return parameters


def _steerable(calculation: Calculation, assignment: Assignment, now: Mapping[str, Any]) -> Collection[str]:
    engine, task = calculation.engine, calculation.task
    if not calculation.steerable or not isinstance(engine, Steers):
        tasks = ", ".join(map(repr, sorted(getattr(engine, "steerable", ()))))
        whose = f"; of this engine {tasks} can" if tasks else ""
        raise InputError(f"{calculation.where} cannot be steered{whose}")
    given = validate(calculation.parameters, now, where=calculation.where)
    return engine.steers(task, given, assignment.request.resources)
