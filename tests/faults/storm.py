"""A storm: many jobs, and one fault after the other, as a seed says; then a count of what is lost or done twice.

By hand: ``python -m tests.faults.storm --store sqlite --jobs 1000 --faults 300 --seed 1``
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from ase.build import bulk

from nanoos_lab.core.errors import ServiceError
from nanoos_lab.core.status import Status
from nanoos_lab.store.records import delivery
from tests.faults.site import LEASE, Guard, Redis, Site, stand_still
from tests.fixtures.programs import program
from tests.processes import kill, kill_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nanoos_lab.lab.job import Job
    from tests.fixtures.postgres import PostgresServer

STEPS, EVERY = 200, 20
#: Seconds between two faults.
PAUSE = 1.0


@dataclass
class Damage:
    """What the storm has done, and what came of it."""

    faults: Counter[str] = field(default_factory=Counter)
    #: Jobs that somebody asked to cancel.
    cancelled: set[str] = field(default_factory=set)
    #: How the jobs ended, with the reason of a failure.
    ends: Counter[str] = field(default_factory=Counter)
    #: How the attempts ended.
    attempts: Counter[str] = field(default_factory=Counter)
    #: What must not be: a sentence each.
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    #: How often it was looked whether two engines run side by side.
    looks: int = 0


class Storm:
    """Faults on a site.

    Parameters
    ----------
    site
        Where.
    jobs
        The jobs that are to survive.
    chance
        Decides what happens, and to whom.
    postgres
        The database server, if it is one that can be restarted.
    """

    def __init__(
        self, site: Site, jobs: Sequence[Job], chance: random.Random, postgres: PostgresServer | None = None
    ) -> None:
        self._site = site
        self._jobs = jobs
        self._chance = chance
        self._postgres = postgres
        self.damage = Damage()
        self._faults: dict[str, Callable[[], None]] = {
            "kill work-horse": self._kill_horse,
            "kill nursery": self._kill_nursery,
            "kill engine": self._kill_engine,
            "kill worker": self._kill_worker,
            "kill worker with all": self._kill_tree,
            "work-horse stands still": self._stop_horse,
            "worker and all stand still": self._stop_tree,
            "broker forgets all": self._flush,
            "kill broker": self._kill_broker,
            "double message": self._double,
            "cancel": self._cancel,
            "pause": self._pause,
        }
        if postgres is not None:
            self._faults["restart database"] = postgres.restart

    def rage(self, count: int) -> None:
        """Make so many faults, one after the other; one that finds nobody to hit is none."""
        while sum(self.damage.faults.values()) < count and self._work_is_left():
            name = self._chance.choice(list(self._faults))
            with suppress(psutil.Error, ServiceError, IndexError):
                self._faults[name]()
                self.damage.faults[name] += 1
                time.sleep(PAUSE)
            self._site.see_to_workers()

    def _work_is_left(self) -> bool:
        try:
            counts = self._site.lab.services.store.count()
        except ServiceError:
            return True
        return any(counts[status] for status in (Status.PENDING, Status.QUEUED, Status.RUNNING))

    def _worker(self) -> psutil.Process:
        return self._chance.choice(self._site.workers)

    def _horse(self) -> psutil.Process:
        """Return the work-horse of a worker: the child that has children."""
        return self._chance.choice([one for one in self._worker().children() if one.children()])

    def _kill_horse(self) -> None:
        kill(self._horse())

    def _kill_nursery(self) -> None:
        kill(self._horse().children()[0])

    def _kill_engine(self) -> None:
        kill(self._chance.choice(list(self._site.engines().values())))

    def _kill_worker(self) -> None:
        kill(self._worker())

    def _kill_tree(self) -> None:
        kill_tree(self._worker())

    def _stop_horse(self) -> None:
        stand_still([self._horse()], 1.6 * LEASE)

    def _stop_tree(self) -> None:
        worker = self._worker()
        stand_still([worker, *worker.children(recursive=True)], 1.6 * LEASE)

    def _flush(self) -> None:
        self._site.lab.services.connection.flushall()

    def _kill_broker(self) -> None:
        self._site.redis.kill()
        time.sleep(1.0)
        self._site.redis.start()

    def _double(self) -> None:
        records = self._site.lab.services.store.get_many([job.id for job in self._jobs]).values()
        known = [delivery(record) for record in records if record.status in (Status.QUEUED, Status.RUNNING)]
        self._site.lab.services.queue.put(self._chance.sample(known, min(3, len(known))))

    def _cancel(self) -> None:
        job = self._chance.choice(self._jobs)
        # Noted first: an answer that is lost has its effect all the same.
        self.damage.cancelled.add(job.id)
        job.cancel()

    def _pause(self) -> None:
        job = self._chance.choice(self._jobs)
        job.pause()
        time.sleep(0.3)
        self._insist(job.resume)

    def _insist(self, do: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                do()
                return
            except ServiceError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


def run(site: Site, *, jobs: int, faults: int, seed: int, postgres: PostgresServer | None = None) -> Damage:
    """Submit jobs, rage, wait for the calm, and count."""
    chance = random.Random(seed)
    begun = time.monotonic()
    submitted = _submit(site, jobs, chance)
    guard = Guard(site)
    guard.start()
    storm = Storm(site, submitted, chance, postgres)
    damage = storm.damage
    storm.rage(faults)
    _calm(site, submitted, damage)
    guard.stop()
    damage.wrong += [f"attempts {numbers} of job {job_id} ran side by side" for job_id, numbers in set(guard.seen)]
    for job in submitted:
        _judge(job, damage)
    damage.wrong += [f"process {process.pid} is left" for process in site.close()]
    damage.seconds = time.monotonic() - begun
    damage.looks = guard.looks
    return damage


def _submit(site: Site, count: int, chance: random.Random) -> list[Job]:
    """Submit jobs of different lengths, every tenth of which waits for an earlier one."""
    copper = bulk("Cu", cubic=True)
    jobs: list[Job] = []
    for number in range(count):
        after = [chance.choice(jobs)] if jobs and number % 10 == 9 else ()
        jobs.append(
            site.lab.submit(
                copper,
                engine="mock",
                task="md",
                name=f"storm {number}",
                priority=chance.randrange(21),
                retries={"attempts": 100, "delay": 0.2, "longest": 1.0},
                after=after,
                steps=STEPS,
                every=EVERY,
                seed=number + 1,
                duration=chance.uniform(0.2, 2.0),
            )
        )
    return jobs


def _calm(site: Site, jobs: Sequence[Job], damage: Damage) -> None:
    """Wait until every job has ended."""
    deadline = time.monotonic() + 120 + 2.0 * len(jobs)
    ids = [job.id for job in jobs]
    while time.monotonic() < deadline:
        site.see_to_workers()
        with suppress(ServiceError):
            left = [one for one in site.lab.services.store.get_many(ids).values() if not one.status.finished]
            if not left:
                return
        time.sleep(0.5)
    damage.wrong += [f"job {record.id} is still {record.status} (attempt {record.attempt})" for record in left]


def _judge(job: Job, damage: Damage) -> None:
    """Say what is wrong with the end of a job."""
    record, attempts = job.record, job.attempts
    damage.ends[f"{record.status} {record.reason or ''}".strip()] += 1
    damage.attempts.update(str(attempt.outcome) for attempt in attempts)
    won = [attempt.number for attempt in attempts if attempt.outcome == "succeeded"]
    if record.status is Status.SUCCEEDED:
        if won != [record.attempt]:
            damage.wrong.append(f"job {job.id} has the results of attempts {won}, its own is {record.attempt}")
        wanted = list(range(0, STEPS + 1, EVERY))
        for name, steps in (("thermo", job.thermo.index.tolist()), ("trajectory", job.trajectory.steps.tolist())):
            if steps != wanted:
                damage.wrong.append(f"the {name} of job {job.id} has the steps {steps}")
    elif won:
        damage.wrong.append(f"job {job.id} is {record.status}, but attempt {won} has succeeded")
    if record.status is Status.CANCELLED and job.id not in damage.cancelled and record.failure is None:
        damage.wrong.append(f"job {job.id} was cancelled by nobody")


def main() -> None:
    """Run a storm by hand and print what came of it."""
    from tests.fixtures.postgres import PostgresServer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--jobs", type=int, default=150)
    parser.add_argument("--faults", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nanoos-storm-") as folder:
        place = Path(folder)
        place.chmod(0o755)
        redis = Redis([program("redis-server", package="redis-server")], place / "redis", keeps=False)
        postgres = None
        url = f"sqlite:///{place}/store.sqlite"
        if options.store == "postgresql":
            (place / "pg").mkdir()
            postgres = PostgresServer(place / "pg")
            postgres.create()
            postgres.start()
            url = postgres.new_database()
        site = Site.open(place, redis, url)
        damage = run(site, jobs=options.jobs, faults=options.faults, seed=options.seed, postgres=postgres)
        if postgres is not None:
            postgres.stop()
        Path("storm.log").write_bytes((place / "workers.log").read_bytes())
    print(f"{options.jobs} jobs, {sum(damage.faults.values())} faults, {damage.seconds:.0f} s, {damage.looks} looks")
    for name in ("faults", "ends", "attempts"):
        print(f"{name}:", ", ".join(f"{count} {what}" for what, count in getattr(damage, name).most_common()))
    print("wrong:", *(damage.wrong or ["nothing"]), sep="\n  ")


if __name__ == "__main__":
    main()
