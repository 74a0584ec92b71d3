"""Every interleaving of what can happen to one job, on the real code of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import bindparam, literal, select, update

from nanoos_lab.core.status import Status
from nanoos_lab.store import sql, terms
from nanoos_lab.store.jobs import Store
from nanoos_lab.store.schema import jobs
from tests.model import world
from tests.model.explore import Exploration, explore
from tests.model.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def explored(tmp_path: Path) -> Callable[[], Exploration]:
    """Return what explores a world of its own."""

    def look() -> Exploration:
        with World.opened(tmp_path / "model.sqlite") as world:
            return explore(world)

    return look


@pytest.mark.parametrize("bounds", [{"CORRECTIONS": 0}, {"PAUSES": 0}], ids=["with a pause", "with a correction"])
def test_nothing_that_can_happen_breaks_an_invariant_or_leaves_the_job_stuck(
    explored: Callable[[], Exploration],
    monkeypatch: pytest.MonkeyPatch,
    record_testsuite_property: Callable[[str, object], None],
    bounds: dict[str, int],
) -> None:
    _smaller(monkeypatch, **bounds)
    found = explored()
    assert (found.wrong, found.trace) == ("", ())
    (without,) = bounds
    record_testsuite_property(f"model_states_without_{without}", len(found.reached))
    record_testsuite_property(f"model_transitions_without_{without}", found.transitions)
    # It has been everywhere; without a pause nothing makes this job pending.
    statuses = {face[0][0] for face in found.reached}
    assert statuses == {str(status) for status in Status if world.PAUSES or status is not Status.PENDING}
    assert len(found.reached) > 1000


def test_a_store_without_a_fence_is_found(explored: Callable[[], Exploration], monkeypatch: pytest.MonkeyPatch) -> None:
    def any_attempt(status: Any) -> tuple[Any, ...]:
        return terms.this_job(), jobs.c.status == status, bindparam("known") > literal(0)

    monkeypatch.setattr(sql, "this_attempt", any_attempt)
    _smaller(monkeypatch, PAUSES=0, CORRECTIONS=0)
    found = explored()
    assert "attempt" in found.wrong
    assert any(step.startswith("deliver") for step in found.trace)


def test_a_claim_without_a_guard_is_found(explored: Callable[[], Exploration], monkeypatch: pytest.MonkeyPatch) -> None:
    def claim(self: Store, job_id: str, attempt: int, holder: Any) -> Any:
        with self._writing() as work:
            record = _row(work, job_id)
            return None if record is None else _take(work, record, attempt, holder)

    monkeypatch.setattr(Store, "claim", claim)
    found = explored()
    assert found.wrong
    assert any(step.startswith("deliver") for step in found.trace)


def test_a_message_that_is_never_sent_again_is_found(
    explored: Callable[[], Exploration], monkeypatch: pytest.MonkeyPatch
) -> None:
    def mark_sent() -> Any:
        statement = update(jobs).where(*terms.this_attempt(literal(Status.QUEUED.value)))
        return statement.values(send_after=None, total=bindparam("resend"))

    monkeypatch.setattr(sql, "mark_sent", mark_sent)
    _smaller(monkeypatch, MESSAGES=1, WORKERS=1, PAUSES=0, CORRECTIONS=0)
    found = explored()
    assert found.wrong == "the job can be stuck for ever"


def test_a_blind_cancel_is_found(explored: Callable[[], Exploration], monkeypatch: pytest.MonkeyPatch) -> None:
    def cancel(self: Store, job_id: str) -> Any:
        with self._writing() as work:
            work.query(update(jobs).values(status=Status.CANCELLED.value))

    monkeypatch.setattr(Store, "cancel", cancel)
    assert explored().wrong


def test_a_blind_reap_is_found(explored: Callable[[], Exploration], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "_expired", lambda: (jobs.c.status == Status.RUNNING.value,))
    assert explored().wrong == "two engines run side by side"


def _smaller(monkeypatch: pytest.MonkeyPatch, **bounds: int) -> None:
    """Look at a smaller world, which has the error too."""
    for name, value in bounds.items():
        monkeypatch.setattr(world, name, value)


def _row(work: Any, job_id: str) -> Any:
    rows = work.query(select(jobs.c.status, jobs.c.attempt).where(jobs.c.id == job_id))
    return rows[0] if rows else None


def _take(work: Any, row: Any, attempt: int, holder: Any) -> Any:
    """Claim whatever is there, without looking."""
    if row[1] != attempt:
        return None
    work.query(update(jobs).values(status=Status.RUNNING.value, worker=holder.worker, lease_until="2999-01-01"))
    return row
