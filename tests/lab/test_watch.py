"""One change feed per lab, whatever the number of jobs and views."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from ase.build import bulk

from tests.waiting import until

if TYPE_CHECKING:
    from nanoos_lab.core.frames import Frame
    from nanoos_lab.lab.lab import Lab
    from nanoos_lab.lab.watch import Change

COPPER = bulk("Cu", cubic=True)


def slow(lab: Lab, duration: float, steps: int = 300):
    return lab.submit(COPPER, engine="mock", task="md", steps=steps, every=100, temperature=300.0, duration=duration)


def listeners() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "nanoos_lab-watch"]


def test_a_subscriber_hears_a_snapshot_first_then_progress_frames_and_the_end(lab: Lab) -> None:
    heard: list[Change] = []

    def told(kind: str) -> list[dict[str, Any]]:
        return [change.event for change in heard if change.event and change.event["kind"] == kind]

    def frames() -> list[Frame]:
        return [change.frame for change in heard if change.frame]

    job = slow(lab, duration=600.0, steps=60_000)
    subscription = lab.watch.subscribe(job.id, heard.append, frames=True)
    until(lambda: len(told("progress")) > 3 and len(frames()) > 3)
    job.cancel()
    until(lambda: any(change.record and change.record.status.finished for change in heard))
    subscription.close()

    assert heard[0].record is not None
    steps = [event["step"] for event in told("progress")]
    assert steps == sorted(steps)
    assert (frames()[0].positions != frames()[-1].positions).any()
    rows = [event["row"] for event in told("progress") if event.get("row")]
    assert rows[-1]["temperature"] > 0


def test_without_a_viewer_the_run_makes_no_frames(lab: Lab) -> None:
    heard: list[Change] = []
    job = slow(lab, duration=1.0)
    subscription = lab.watch.subscribe(job.id, heard.append)
    job.wait(60)
    subscription.close()
    assert [change for change in heard if change.frame] == []


def test_many_jobs_and_views_share_one_listener_thread_which_ends_with_the_last(lab: Lab) -> None:
    heard = defaultdict(list)
    jobs = [slow(lab, duration=0.1) for _ in range(5)]
    subscriptions = [
        lab.watch.subscribe(job.id, lambda change, view=view: heard[change.job_id, view].append(change))
        for job in jobs
        for view in range(3)
    ]
    assert len(listeners()) == 1
    until(lambda: len(heard) == 15)
    for job in jobs:
        job.wait(60)
    for subscription in subscriptions:
        subscription.close()
    until(lambda: listeners() == [])


def test_a_failing_subscriber_does_not_stop_the_others(lab: Lab, caplog) -> None:
    heard: list[Change] = []
    job = slow(lab, duration=0.5)

    def fail(change: Change) -> None:
        raise RuntimeError("a broken view")

    subscriptions = [lab.watch.subscribe(job.id, fail), lab.watch.subscribe(job.id, heard.append)]
    until(lambda: any(change.record and change.record.status.finished for change in heard))
    for subscription in subscriptions:
        subscription.close()
    assert "a broken view" in caplog.text


def test_a_late_subscriber_of_a_finished_job_hears_how_it_ended(lab: Lab) -> None:
    heard: list[Change] = []
    job = slow(lab, duration=0.0).wait(60)
    subscription = lab.watch.subscribe(job.id, heard.append)
    until(lambda: heard)
    subscription.close()
    assert heard[0].record.status == "succeeded"


def test_what_is_done_again_and_again_is_done_in_the_one_listener_thread_until_it_is_closed(lab: Lab) -> None:
    threads: list[str] = []

    def fail() -> None:
        threads.append(threading.current_thread().name)
        raise RuntimeError("a broken view")

    polls = [
        lab.watch.every(0.05, lambda: threads.append(threading.current_thread().name)),
        lab.watch.every(0.05, fail),
    ]
    until(lambda: len(threads) > 20)
    assert set(threads) == {"nanoos_lab-watch"}
    assert len(listeners()) == 1
    for poll in polls:
        poll.close()
    until(lambda: listeners() == [])
