"""A live overview against a group whose life the test directs; what would go to the page is caught at the widget."""

from __future__ import annotations

import gc
import weakref
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import pytest

from nanoos_lab.core.errors import JobNotFoundError, StoreError
from nanoos_lab.core.status import Status
from nanoos_lab.widgets import render
from nanoos_lab.widgets.group import LiveGroup
from tests.widgets.fake import FakeGroup, a_record

if TYPE_CHECKING:
    from collections.abc import Iterator

VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def group() -> FakeGroup:
    return FakeGroup(a_record(name="cold"), a_record(name="hot"))


@pytest.fixture
def live(group: FakeGroup) -> Iterator[LiveGroup]:
    live = LiveGroup(group)
    yield live
    live.close()


@pytest.fixture
def sent(live: LiveGroup, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The states that the page was sent."""
    states: list[dict[str, Any]] = []
    monkeypatch.setattr(live.box, "send_state", lambda _name: states.append(dict(live.state())))
    return states


def obey(live: LiveGroup, **order: Any) -> None:
    """Send an order as the page does."""
    live.box._handle_custom_msg(order, [])


def test_the_overview_follows_the_jobs_to_their_end_and_then_looks_no_more(
    group: FakeGroup, live: LiveGroup, sent: list[dict[str, Any]]
) -> None:
    assert live.state()["counts"] == [["queued", 2]]
    group.change(0, status=Status.RUNNING, step=25_000)
    group.lab.watch.turn()
    assert (sent[-1]["counts"], sent[-1]["progress"]) == ([["queued", 1], ["running", 1]], 0.25)
    assert sent[-1]["rows"][0]["words"] == "25,000 / 50,000 steps"
    obey(live, order="seen", serial=sent[-1]["serial"])
    for number in (0, 1):
        group.change(number, status=Status.SUCCEEDED)
    live.refresh()
    assert (sent[-1]["done"], sent[-1]["counts"]) == (True, [["succeeded", 2]])
    assert not group.lab.watch.polls


def test_nothing_is_sent_while_nothing_changes(group: FakeGroup, live: LiveGroup, sent: list[dict[str, Any]]) -> None:
    for _ in range(3):
        group.lab.watch.turn()
    assert (group.looks, sent) == (4, [])


def test_a_page_that_does_not_answer_has_the_store_asked_less_often(
    group: FakeGroup, live: LiveGroup, sent: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr("nanoos_lab.widgets.group.time.monotonic", lambda: clock[0])
    group.change(0, status=Status.RUNNING, step=1)
    for step in range(1, 3600):
        clock[0] += 1.0
        group.change(0, step=step)
        group.lab.watch.turn()
    assert len(sent) < 100
    obey(live, order="seen", serial=sent[-1]["serial"])
    clock[0] += 1.0
    group.change(0, step=4000)
    group.lab.watch.turn()
    assert sent[-1]["rows"][0]["words"].startswith("4,000")


def test_cancel_ends_all_jobs(group: FakeGroup, live: LiveGroup, sent: list[dict[str, Any]]) -> None:
    obey(live, order="cancel")
    assert group.cancels == 1
    assert (sent[-1]["counts"], sent[-1]["done"]) == ([["cancelled", 2]], True)
    assert not group.lab.watch.polls


def test_an_error_of_the_button_is_shown_until_the_next_press(group: FakeGroup, live: LiveGroup) -> None:
    group.error = StoreError("the database does not answer")
    obey(live, order="cancel")
    assert live.state()["notice"] == "the database does not answer"
    group.error = None
    obey(live, order="cancel")
    assert live.state()["notice"] == ""


def test_a_group_of_which_jobs_were_deleted_says_so_and_looks_no_more(group: FakeGroup, live: LiveGroup) -> None:
    group.error = JobNotFoundError("7" * 32)
    group.lab.watch.turn()
    assert "there is no job" in live.state()["notice"]
    assert not group.lab.watch.polls


def test_a_group_that_has_ended_is_not_looked_at_until_it_comes_back_to_life() -> None:
    group = FakeGroup(a_record(status=Status.FAILED))
    live = LiveGroup(group)
    assert not group.lab.watch.polls
    group.change(0, status=Status.QUEUED)
    live.refresh()
    assert len(group.lab.watch.polls) == 1
    live.close()
    assert not group.lab.watch.polls


def test_showing_a_group_twice_makes_one_overview_with_one_poll(
    group: FakeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render, "_in_jupyter", lambda: True)
    views = [render.group_mimebundle(group)[VIEW]["model_id"] for _ in range(3)]
    assert len(set(views)) == 1
    assert len(group.lab.watch.polls) == 1


def test_outside_of_jupyter_a_group_is_a_line_and_a_bar(group: FakeGroup) -> None:
    bundle = render.group_mimebundle(group)
    assert set(bundle) == {"text/plain", "text/html"}
    assert bundle["text/plain"].endswith("2 jobs: 2 queued")


def test_closing_the_overview_lets_it_go(group: FakeGroup) -> None:
    live = LiveGroup(group)
    gone = weakref.ref(live)
    live.close()
    del live
    gc.collect()
    assert gone() is None


def test_a_group_finds_its_overview() -> None:
    (point,) = entry_points(group="nanoos_lab.views", name="group")
    assert point.load() is render.group_mimebundle
