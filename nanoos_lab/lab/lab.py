"""A person's open connection to store, broker and artifacts."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Self

from nanoos_lab.core.choices import one_of, some_of
from nanoos_lab.core.errors import BrokerError, NanoosError
from nanoos_lab.core.request import QUEUES
from nanoos_lab.core.status import Status
from nanoos_lab.lab import local, orders, retention, schedules
from nanoos_lab.lab.draft import Draft
from nanoos_lab.lab.group import Group
from nanoos_lab.lab.job import Job
from nanoos_lab.lab.prepare import prepare_many
from nanoos_lab.lab.sweep import sweep, units_of
from nanoos_lab.lab.watch import Watch
from nanoos_lab.store.queries import JobQuery
from nanoos_lab.store.records import delivery
from nanoos_lab.worker.services import Services
from nanoos_lab.worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    import pandas as pd
    from ase import Atoms

    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.core.resources import Limits, Resources, RetryPolicy
    from nanoos_lab.lab.schedules import Schedule
    from nanoos_lab.store.prune import Pruned

log = logging.getLogger(__name__)


class Lab:
    """Submit, find and follow jobs.

    Parameters
    ----------
    settings
        Which store, broker and artifacts; None reads the environment, whose default is the embedded lab of
        this computer: a server and workers that start with the first job and stop by themselves.

    Examples
    --------
    >>> with Lab() as lab:  # doctest: +SKIP
    ...     job = lab.submit(atoms, engine="lammps", task="md", potential="Cu_u3.eam", steps=100)
    ...     job.wait().thermo
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings.load()
        self.services = Services(self.settings)
        self.watch = Watch(self.services)

    def submit(  # noqa: PLR0913 - these names are fixed for users
        self,
        structure: Atoms | Job | None,
        *,
        engine: str,
        task: str,
        name: str | None = None,
        queue: str = "simulations",
        priority: int = 5,
        resources: Resources | dict[str, Any] | None = None,
        limits: Limits | dict[str, Any] | None = None,
        retries: RetryPolicy | dict[str, Any] | int | None = None,
        after: Job | str | Iterable[Job | str] = (),
        after_failure: Literal["cancel", "run"] = "cancel",
        not_before: datetime | None = None,
        cache: bool = True,
        corrections: bool = True,
        **parameters: Any,
    ) -> Job:
        """Check a request, store it, and offer it to the workers; returns at once.

        Parameters
        ----------
        structure
            What to simulate; it is copied, so later changes do not matter. Or another job, whose final structure is
            meant: this one then waits for it.
        engine, task
            What runs it, and the kind of calculation; ``nanoos_lab.engines()`` lists them.
        name
            A name for people; the formula and the task unless given.
        queue
            "high_priority", "simulations" or "default", in the order in which workers serve them.
        priority
            0 lowest, 5 normal, 10 high, 20 urgent, inside the queue.
        resources
            Ranks, threads and GPUs of one attempt.
        limits
            ``soft`` and ``hard`` limit of the running time in s, pauses not counted, and ``memory`` in GiB. At the soft
            limit the engine writes a checkpoint if it can and stops, at the others it is killed.
        retries
            ``attempts`` in all if a worker is lost or resources lack, 3 unless given, and ``delay`` in s before the
            next one, 60 unless given, doubled each time; or only the number of attempts.
        after
            Jobs that must have succeeded first.
        after_failure
            Whether to "cancel" this job if one of those does not succeed, or to "run" it all the same.
        not_before
            Not to be started earlier.
        cache
            Whether the results of an equal job will do: one that has succeeded is answered at once, one that is on
            its way is joined. Only where equal requests have equal results.
        corrections
            Whether the engine may try again with other parameters after a failure that it knows a way around, such as
            a smaller mixing after an SCF cycle that did not converge: five times at most, each noted in `job.attempts`.
            Without, the results of an equal job will not do either: they may be corrected ones.
        **parameters
            The task's own, such as ``steps``, ``timestep`` (fs), ``temperature`` (K), ``potential``; and
            ``calculator`` for engine "ase".

        Returns
        -------
        Job
            The live handle; evaluate it in a cell to watch the run.

        Raises
        ------
        InputError
            If the request cannot be carried out; nothing was stored or queued.
        ServiceError
            If the store or the broker do not answer; nothing was stored or queued.
        """
        draft = Draft(
            structure,
            engine=engine,
            task=task,
            name=name,
            queue=queue,
            priority=priority,
            resources=resources,
            limits=limits,
            retries=retries,
            after=after,
            after_failure=after_failure,
            not_before=not_before,
            cache=cache,
            corrections=corrections,
            **parameters,
        )
        return Job(self, self._submit([draft])[0].id)

    def submit_many(self, drafts: Iterable[Draft]) -> Group:
        """Check many jobs, store them, and offer them to the workers; all or none; returns at once.

        Parameters
        ----------
        drafts
            The jobs; they may name each other as structure and in `after`, in any order.

        Returns
        -------
        Group
            The jobs, in the order given.

        Raises
        ------
        InputError
            If one of them cannot be carried out, or depends on a draft that is not among them.
        JobNotFoundError
            If one of them depends on a job that does not exist.
        ServiceError
            If the store or the broker do not answer.
        """
        return Group(self, [record.id for record in self._submit(list(drafts))])

    def sweep(self, structure: Atoms | Job | None = None, *, over: Mapping[str, Iterable[Any]], **fixed: Any) -> Group:
        """Submit a job for each combination of values.

        Parameters
        ----------
        structure
            What to simulate, unless `over` has it.
        over
            Name → values, for whatever `submit` takes; the last name varies fastest. ``"structure"`` may be a mapping
            of names to structures.
        **fixed
            What else `submit` takes, the same for all.

        Returns
        -------
        Group
            The jobs; its `results` has a column for each name in `over`.

        Raises
        ------
        InputError
            If one of the jobs cannot be carried out; nothing was stored or queued.
        ServiceError
            If the store or the broker do not answer; nothing was stored or queued.
        """
        wanted = sweep(structure, over, fixed)
        records = self._submit(wanted.drafts)
        units = units_of(wanted.drafts[0], wanted.columns)
        return Group(self, [record.id for record in records], wanted.columns, units)

    def _submit(self, drafts: Sequence[Draft]) -> list[JobRecord]:
        submissions = prepare_many(self.services, drafts)
        if not submissions:
            return []
        self._reach_broker()
        records = self.services.store.add(submissions)
        orders.deliver(self.services, [delivery(record) for record in records if record.status is Status.QUEUED])
        self._start_again()
        return records

    def _reach_broker(self) -> None:
        """Have a broker that answers; an idle lab may have stopped after we saw it run."""
        self.start()
        try:
            self.services.queue.ping()
        except BrokerError:
            if not self.settings.embedded:
                raise
            self.start()
            self.services.queue.ping()

    def _start_again(self) -> None:
        """Start an idle lab that was stopping all the while; if that fails, what is stored waits for the next start."""
        try:
            self.start()
        except NanoosError as error:
            log.warning("the embedded lab does not run: %s", error)

    def start(self) -> None:
        """Start what the embedded lab lacks; a cluster's services are other people's."""
        if self.settings.embedded:
            local.start(self.settings)

    def load(self, job_id: str) -> Job:
        """Return the handle of a job of any notebook or process.

        Parameters
        ----------
        job_id
            Its id, as `jobs` lists it.

        Raises
        ------
        JobNotFoundError
            If there is none.
        """
        return Job(self, self.services.store.get(job_id).id)

    def jobs(  # noqa: PLR0913 - one filter per column
        self,
        *,
        status: str | Sequence[str] | None = None,
        engine: str | None = None,
        task: str | None = None,
        queue: str | None = None,
        name: str | None = None,
        formula: str | None = None,
        limit: int | None = 1000,
        results: Sequence[str] = (),
    ) -> pd.DataFrame:
        """Return jobs as a DataFrame, newest first, indexed by id.

        Parameters
        ----------
        status, engine, task, queue, name, formula
            Only jobs that have this; `status` may be several.
        limit
            Most rows, the newest, from 0 on; None for all.
        results
            Scalar results to add as columns, such as ``["energy"]``.

        Raises
        ------
        UnknownNameError
            For a status or queue that does not exist.
        ParameterError
            For a limit that is no such number.
        """
        from nanoos_lab.lab.tables import jobs_frame

        query = JobQuery(
            status=None if status is None else some_of("status", status, list(Status)),
            engine=engine,
            task=task,
            queue=None if queue is None else one_of("queue", queue, QUEUES),
            name=name,
            formula=formula,
            limit=limit,
        )
        return jobs_frame(self.services.store.find(query), results)

    def cancel(self, job_id: str) -> bool:
        """End a job; see `Job.cancel`."""
        return self.cancel_many([job_id]) == 1

    def cancel_many(self, job_ids: Iterable[str]) -> int:
        """End jobs; see `Job.cancel`. Name those that depend on others first: then no worker is offered them.

        Returns
        -------
        int
            How many of them are cancelled now, or will be soon.

        Raises
        ------
        JobNotFoundError
            If one of them does not exist.
        """
        return orders.cancel(self, job_ids)

    def delete(self, jobs: Job | str | Iterable[Job | str], *, dry_run: bool = False) -> Pruned:
        """Delete jobs that have ended, with their files; see `nanoos_lab.lab.retention.delete`."""
        return retention.delete(self, jobs, dry_run=dry_run)

    def pause(self, job_id: str) -> bool:
        """Pause a job; see `Job.pause`."""
        return self.pause_many([job_id]) == 1

    def pause_many(self, job_ids: Iterable[str]) -> int:
        """Pause jobs; see `Job.pause`.

        Returns
        -------
        int
            How many of them had not ended before.

        Raises
        ------
        JobNotFoundError
            If one of them does not exist.
        """
        return orders.pause(self, job_ids)

    def resume(self, job_id: str) -> bool:
        """End the pause of a job; see `Job.resume`."""
        return self.resume_many([job_id]) == 1

    def resume_many(self, job_ids: Iterable[str]) -> int:
        """End the pauses of jobs; see `Job.resume`.

        Returns
        -------
        int
            How many of them had not ended before.

        Raises
        ------
        JobNotFoundError
            If one of them does not exist.
        """
        return orders.resume(self, job_ids)

    def steer(self, job_id: str, changes: Mapping[str, Any]) -> int:
        """Change parameters of a job on its way; see `Job.steer`."""
        return orders.steer(self, job_id, changes)

    def steer_many(self, job_ids: Iterable[str], changes: Mapping[str, Any]) -> dict[str, int]:
        """Change parameters of jobs on their way, of all or of none; see `Job.steer`.

        Returns
        -------
        dict
            Id of each job that had not ended, and was not being cancelled → the number of its steering.

        Raises
        ------
        InputError
            If one of them cannot take the changes; names the first such one, and nothing was changed.
        JobNotFoundError
            If one of them does not exist.
        """
        return orders.steer_many(self, job_ids, changes)

    def retry(self, job_id: str, *, limits: Any = None, retries: Any = None) -> None:
        """Try a failed job again; see `Job.retry`."""
        orders.retry(self, job_id, limits=limits, retries=retries)

    def retry_many(self, job_ids: Iterable[str], *, limits: Any = None, retries: Any = None) -> int:
        """Try those of some jobs again that have failed; see `Job.retry`.

        Returns
        -------
        int
            How many.

        Raises
        ------
        JobNotFoundError
            If one of them does not exist.
        """
        return orders.retry_many(self, job_ids, limits=limits, retries=retries)

    def schedule(self, structure: Atoms | None, **options: Any) -> Schedule:
        """Submit a request again and again; see `nanoos_lab.lab.schedules.schedule` for the arguments."""
        return schedules.schedule(self, structure, **options)

    def schedules(self) -> pd.DataFrame:
        """Return the schedules as a DataFrame, indexed by id."""
        return schedules.schedules(self)

    def load_schedule(self, schedule_id: str) -> Schedule:
        """Return the handle of a schedule."""
        return schedules.load_schedule(self, schedule_id)

    def prune(self, **wish: Any) -> Pruned:
        """Delete jobs that ended long ago; see `nanoos_lab.lab.retention.prune`. A dry run unless told otherwise."""
        return retention.prune(self, **wish)

    def warning(self, record: JobRecord) -> str | None:
        """Say why a job waits, if a person must do something."""
        if record.status is not Status.QUEUED:
            return None
        if self.settings.embedded:
            complete = local.state(self.settings).complete
            return None if complete else "the embedded lab does not run; `nanoos-lab up` starts it"
        try:
            served = {queue for worker in self.services.queue.workers() for queue in worker.queues}
        except NanoosError as error:
            return str(error)
        if record.queue in served:
            return None
        return f"no worker listens on queue {record.queue!r}; `nanoos-lab worker` on a compute node starts one"

    def close(self) -> None:
        """End the listener and close the connections; jobs go on."""
        self.watch.close()
        self.services.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@cache
def default_lab() -> Lab:
    """Return this process's lab with the settings of its environment; made on first use."""
    return Lab()
