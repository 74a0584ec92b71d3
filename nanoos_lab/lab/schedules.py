"""Schedules: jobs that are submitted again and again, by the reconciler, whether or not a notebook is open."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import InputError
from nanoos_lab.core.schedule import Repeat, ScheduleRecord
from nanoos_lab.lab.draft import Draft
from nanoos_lab.lab.job import Job
from nanoos_lab.lab.prepare import prepare
from nanoos_lab.store.prune import Pruner
from nanoos_lab.store.schedules import Schedules

if TYPE_CHECKING:
    from datetime import timedelta

    import pandas as pd
    from ase import Atoms

    from nanoos_lab.lab.lab import Lab

#: Arguments of `Lab.submit` that make no sense for a job that comes again.
_NO_SENSE = ("after", "after_failure", "cache")


class Schedule:
    """One schedule; get it from `schedule` or `load_schedule`."""

    __slots__ = ("id", "lab")

    def __init__(self, lab: Lab, schedule_id: str) -> None:
        self.lab = lab
        self.id = schedule_id

    @property
    def record(self) -> ScheduleRecord:
        """What the store knows of the schedule now.

        Raises
        ------
        UnknownNameError
            If it has had its last turn, or was removed.
        """
        return Schedules(self.lab.services.store).get(self.id)

    @property
    def last_job(self) -> Job | None:
        """The job that it submitted last; None before the first."""
        job_id = self.record.last_job
        return None if job_id is None else Job(self.lab, job_id)

    def remove(self) -> bool:
        """End the schedule; the jobs that it has submitted stay. False if it had ended before."""
        return remove_schedule(self.lab, self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<Schedule {self.id}>"


def schedule(
    lab: Lab,
    structure: Atoms | None,
    *,
    engine: str,
    task: str,
    repeat: float | timedelta | str | Repeat,
    times: int | None = None,
    **options: Any,
) -> Schedule:
    """Check a request, and have it submitted again and again.

    Each turn is a job of its own that runs: results of equal jobs are not taken. Turns that were missed, because the
    lab was off, are not made up for: a lab that was off for a day submits once. While the job of the last turn has not
    ended, turns are left out. A lab of this computer that has a schedule does not stop by itself.

    Parameters
    ----------
    lab
        Where to.
    structure
        What to simulate, as for `Lab.submit`; no job.
    engine, task
        What runs it, and the kind of calculation.
    repeat
        Seconds, a `timedelta` or a text such as "6h" or "30min" from one turn to the next, at least 1 s, the first one
        at once; or a cron expression of five fields in UTC, such as "0 3 * * mon" for three o'clock on Mondays.
    times
        How many turns; None for ever.
    **options
        ``name``, ``queue``, ``priority``, ``resources``, ``limits``, ``retries``, the task's own parameters, and
        ``not_before``, the time from which on the turns count.

    Raises
    ------
    InputError
        If the request cannot be carried out; nothing was stored.
    ServiceError
        If the store does not answer; nothing was stored.
    """
    if isinstance(structure, Job):
        raise InputError("a schedule starts from a structure that is there: pass job.structure, not the job")
    for name in _NO_SENSE:
        if name in options:
            raise InputError(f"{name}= makes no sense for a schedule, whose every turn is a run of its own")
    moments = Repeat.from_any(repeat)
    wanted = prepare(lab.services, Draft(structure, engine=engine, task=task, cache=False, **options))
    # Which version will run it nobody knows yet.
    wanted = replace(wanted, request=replace(wanted.request, version=""))
    record = Schedules(lab.services.store).add(wanted, moments, times=times)
    lab.start()
    return Schedule(lab, record.id)


def load_schedule(lab: Lab, schedule_id: str) -> Schedule:
    """Return the handle of a schedule.

    Raises
    ------
    UnknownNameError
        If there is none of that id.
    """
    return Schedule(lab, Schedules(lab.services.store).get(schedule_id).id)


def remove_schedule(lab: Lab, schedule_id: str) -> bool:
    """End a schedule; the jobs that it has submitted stay. False if it had ended before."""
    return Pruner(lab.services.store, lab.services.artifacts).remove_schedule(schedule_id)


def schedules(lab: Lab) -> pd.DataFrame:
    """Return the schedules as a DataFrame, the next due first, indexed by id."""
    import pandas as pd

    found = Schedules(lab.services.store).all()
    columns = ("name", "engine", "task", "repeat", "next", "left", "last_job", "created")
    values = [{**record.to_json(), "repeat": str(record.repeat)} for record in found]
    frame = pd.DataFrame([{name: row[name] for name in columns} for row in values], columns=list(columns))
    for name in ("next", "created"):
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601")
    frame["left"] = frame["left"].astype("Int64")
    frame.index = pd.Index([record.id for record in found], name="id", dtype="str")
    return frame
