"""What the statements about jobs are made of: columns, conditions, and many values as parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import String, bindparam, or_

from nanoos_lab.core.status import Status
from nanoos_lab.store.schema import clock, jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement

#: Most values in one IN list; the compiling of a longer one costs more than it saves.
BATCH = 1024
#: The order in which a person wants to see jobs.
FOREMOST = (
    Status.RUNNING,
    Status.FAILED,
    Status.QUEUED,
    Status.PENDING,
    Status.CANCELLED,
    Status.SUCCEEDED,
)
#: The columns that make a JobRecord, in the order in which `records.job_record` reads them.
RECORD = (
    jobs.c.id,
    jobs.c.key,
    jobs.c.name,
    jobs.c.formula,
    jobs.c.atoms,
    jobs.c.engine,
    jobs.c.task,
    jobs.c.status,
    jobs.c.reason,
    jobs.c.message,
    jobs.c.remedy,
    jobs.c.queue,
    jobs.c.priority,
    jobs.c.attempt,
    jobs.c.max_attempts,
    jobs.c.step,
    jobs.c.total,
    jobs.c.worker,
    jobs.c.created,
    jobs.c.started,
    jobs.c.ended,
    jobs.c.cancel_requested,
    jobs.c.lease_until,
    jobs.c.scalars,
    jobs.c.paused,
    jobs.c.run_after,
    jobs.c.waits_for,
    jobs.c.failures,
    jobs.c.lost,
    jobs.c.cached_from,
    jobs.c.steerings,
    jobs.c.varied,
)


def this_job() -> ColumnElement[bool]:
    """Return what holds for `job`."""
    return jobs.c.id == bindparam("job")


def this_attempt(status: ColumnElement[Any]) -> tuple[ColumnElement[bool], ...]:
    """Return what holds for `job` while it is in a status and at attempt `known`."""
    return this_job(), jobs.c.status == status, jobs.c.attempt == bindparam("known")


def waits_for_nothing(*, but_an_equal_job: bool = False) -> tuple[ColumnElement[bool], ...]:
    """Return what holds for a pending job that waits for nothing but, where it has joined one, an equal job."""
    return (
        jobs.c.status == Status.PENDING.value,
        jobs.c.waits_for == 0,
        *(() if but_an_equal_job else (jobs.c.cached_from.is_(None),)),
        jobs.c.paused.is_(None),
        or_(jobs.c.run_after.is_(None), jobs.c.run_after <= clock()),
    )


def joined() -> tuple[ColumnElement[bool], ...]:
    """Return what holds for the jobs that wait for the results of `job`."""
    return jobs.c.cached_from == bindparam("job"), jobs.c.status == Status.PENDING.value


def pending(count: int) -> tuple[ColumnElement[bool], ...]:
    """Return what holds for those of `count` jobs that are pending."""
    return among(jobs.c.id, "id", count), jobs.c.status == Status.PENDING.value


def named(name: str, values: Sequence[str]) -> dict[str, str]:
    """Return values as parameters ``<name>_<number>``, from 0.

    The last one is repeated up to a power of two, so that few statements serve for every number of values.
    """
    count = 1 << (len(values) - 1).bit_length() if values else 0
    return {f"{name}_{number}": values[min(number, len(values) - 1)] for number in range(count)}


def among(column: ColumnElement[Any], name: str, count: int) -> ColumnElement[bool]:
    """Return whether a column holds one of the values that `named` has made parameters of."""
    return column.in_([bindparam(f"{name}_{number}", type_=String) for number in range(count)])
