"""A live card against a job whose life the test directs; what would go to the page is caught at the widget."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk

from nanoos_lab.core.errors import ParameterError, StoreError
from nanoos_lab.core.status import Status
from nanoos_lab.lab.watch import Change
from nanoos_lab.widgets import live, render
from nanoos_lab.widgets.live import LiveCard
from tests.waiting import until
from tests.widgets.fake import FakeJob, FakeTrajectory

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd


@pytest.fixture
def job() -> FakeJob:
    return FakeJob(bulk("Cu", cubic=True))


@pytest.fixture
def card(job: FakeJob) -> Any:
    card = LiveCard(job)
    yield card
    card.close()


def obey(card: LiveCard, **order: Any) -> None:
    """Send an order as the page does."""
    card._card._handle_custom_msg(order, [])


def test_the_card_follows_the_job_to_its_end_and_then_hears_no_more(job: FakeJob, card: LiveCard) -> None:
    job.start()
    job.progress(100, temperature=300.0)
    assert (card.state()["status"], card.state()["step"]) == ("running", 100)
    job.end(energy=-1.0)
    assert card.state()["results"] == [["energy", -1.0, "eV"]]
    until(lambda: not job.lab.watch.subscriptions)


def test_a_job_that_was_seen_to_have_ended_is_not_listened_to_any_more(job: FakeJob, card: LiveCard) -> None:
    """As when a queued job is cancelled: the look that follows the order comes before the feed's news."""
    job.record = replace(job.record, status=Status.CANCELLED)
    card.refresh()
    until(lambda: not job.lab.watch.subscriptions)


def test_an_end_that_comes_while_the_card_looks_is_not_overwritten(
    job: FakeJob, card: LiveCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The feed says nothing twice: a card that forgot an end would show a running job for ever."""
    job.start()
    monkeypatch.setattr(FakeJob, "steerable", property(_ending(FakeJob.steerable)))
    obey(card, order="cancel")
    assert card.state()["status"] == "cancelled"
    until(lambda: not job.lab.watch.subscriptions)


def test_news_from_before_the_end_that_come_after_it_change_nothing(job: FakeJob, card: LiveCard) -> None:
    job.start()
    (subscription,) = job.lab.watch.subscriptions
    running = job.record
    job.end(Status.CANCELLED)
    subscription.callback(Change(job_id=job.id, record=running))
    assert card.state()["status"] == "cancelled"


def _ending(steerable: property) -> Callable[[FakeJob], pd.DataFrame]:
    """Have the job end while it is asked what can be changed of it."""

    def ask(job: FakeJob) -> pd.DataFrame:
        if not job.record.status.finished:
            job.end(Status.CANCELLED)
        return steerable.__get__(job)

    return ask


def test_a_warning_comes_and_goes_with_its_reason(job: FakeJob, card: LiveCard) -> None:
    job.warning = "no worker listens on queue 'simulations'; `nanoos-lab worker` starts one"
    obey(card, order="look")
    assert "nanoos-lab worker" in card.state()["warning"]
    job.warning = None
    obey(card, order="look")
    assert card.state()["warning"] == ""


def test_a_job_that_has_ended_is_not_listened_to() -> None:
    job = FakeJob()
    job.end()
    LiveCard(job).close()
    assert not job.lab.watch.subscriptions


def test_a_card_begins_with_the_durable_thermo(job: FakeJob) -> None:
    for step in range(0, 500, 100):
        job.progress(step, temperature=300.0 + step)
    _, series = LiveCard(job).history()
    assert list(series.rows) == [(float(step), 300.0 + step) for step in range(0, 500, 100)]
    assert series.columns[0].unit == "K"


def test_closing_the_card_ends_its_subscription_and_lets_it_go(job: FakeJob) -> None:
    card = LiveCard(job)
    gone = weakref.ref(card)
    card.close()
    assert not job.lab.watch.subscriptions
    del card
    gc.collect()
    assert gone() is None


def test_showing_a_job_twice_makes_one_card_with_one_subscription(job: FakeJob, monkeypatch: Any) -> None:
    monkeypatch.setattr(render, "_in_jupyter", lambda: True)
    bundles = [render.mimebundle(job) for _ in range(3)]
    views = [bundle["application/vnd.jupyter.widget-view+json"]["model_id"] for bundle in bundles]
    assert len(set(views)) == 1
    assert len(job.lab.watch.subscriptions) == 1


def test_cancel_reaches_the_job(job: FakeJob, card: LiveCard) -> None:
    job.start()
    obey(card, order="cancel")
    assert job.cancels == 1
    assert card.state()["cancelling"]


def test_an_error_of_a_button_is_shown_on_the_card(job: FakeJob, card: LiveCard) -> None:
    job.cancel_error = StoreError("the database does not answer")
    obey(card, order="cancel")
    assert card.state()["notice"] == "the database does not answer"


def test_a_running_job_is_steered_from_its_card(job: FakeJob, card: LiveCard) -> None:
    job.start()
    assert card.state()["steering"] == {
        "controls": [["temperature", 600.0, "K"], ["temperature_end", None, "K"], ["tdamp", 100.0, "fs"]],
        "marks": [],
        "answers": 0,
    }
    obey(card, order="steer", name="temperature", value=900)
    assert job.parameters["temperature"] == 900
    steering = card.state()["steering"]
    assert (steering["controls"][0], steering["marks"], steering["answers"]) == (["temperature", 900, "K"], [], 1)
    assert card.state()["hint"][1].startswith("once: temperature 900 K, from the next halt of the run on; ")


def test_the_step_of_a_change_is_marked_as_soon_as_it_is_known(job: FakeJob, card: LiveCard) -> None:
    """Also of one that was asked for elsewhere, such as in another notebook."""
    job.start()
    job.steer(temperature=900)
    job.change(step=100)
    assert card.state()["steering"]["marks"] == []
    job.apply(200)
    assert card.state()["steering"]["marks"] == [[200, "temperature 900 K"]]
    job.end()
    assert card.state()["steering"] == {"controls": [], "marks": [[200, "temperature 900 K"]], "answers": 0}


def test_a_change_that_is_refused_is_answered_with_the_reason(job: FakeJob, card: LiveCard) -> None:
    job.start()
    job.steer_error = ParameterError("temperature", -1, "must be a number ≥ 0")
    obey(card, order="steer", name="temperature", value=-1)
    assert card.state()["notice"] == "temperature=-1 is not allowed: must be a number ≥ 0."
    assert card.state()["steering"]["answers"] == 1
    job.steer_error = None
    obey(card, order="steer", name="temperature", value=900)
    assert card.state()["notice"] == ""


def test_a_job_that_is_being_cancelled_takes_no_changes(job: FakeJob, card: LiveCard) -> None:
    job.start()
    obey(card, order="cancel")
    assert card.state()["steering"]["controls"] == []


def test_the_log_is_shown_when_it_is_asked_for(job: FakeJob, card: LiveCard) -> None:
    job.log = "LAMMPS (22 Jul 2025)\n"
    obey(card, order="log", shown=True)
    assert card.state()["logShown"]
    assert card._sent_log == ("LAMMPS (22 Jul 2025)",)


def test_frames_are_asked_for_only_while_somebody_sees_them(job: FakeJob, card: LiveCard) -> None:
    [subscription] = job.lab.watch.subscriptions
    assert not subscription.frames
    card._structure._handle_custom_msg({"order": "watched", "page": "a", "watched": True}, [])
    assert subscription.frames
    card._structure._handle_custom_msg({"order": "watched", "page": "a", "watched": False}, [])
    assert not subscription.frames


def test_a_frame_moves_the_atoms_of_the_scene(job: FakeJob, card: LiveCard) -> None:
    card._structure._handle_custom_msg({"order": "watched", "page": "a", "watched": True}, [])
    moved = job.atoms.positions + 0.5
    job.show(100, moved)
    assert card._structure.scene.step == 100
    assert card._structure.scene.positions == pytest.approx(moved, abs=1e-5)


@pytest.mark.parametrize("others", ["more", "elements"])
def test_a_run_of_other_atoms_than_were_submitted_is_shown_as_soon_as_it_says_which(
    job: FakeJob, card: LiveCard, monkeypatch: pytest.MonkeyPatch, others: str
) -> None:
    monkeypatch.setattr(live, "LOOK_PAUSE", 0.0)
    card._structure._handle_custom_msg({"order": "watched", "page": "a", "watched": True}, [])
    supercell = job.atoms * (2, 2, 2) if others == "more" else job.atoms.copy()
    supercell.symbols[:] = "Au"
    before, version = card._structure.scene.symbols, card._structure.scene.version
    job.show(0, supercell.positions)
    assert (card._structure.scene.symbols, card._structure.scene.version) == (before, version)
    job.trajectory.append(supercell)
    job.show(1, supercell.positions)
    assert card._structure.scene.symbols == ["Au"] * len(supercell)
    moved = supercell.positions + 0.1
    job.show(2, moved)
    assert card._structure.scene.step == 2
    assert card._structure.scene.positions == pytest.approx(moved, abs=1e-5)


def test_what_is_kept_of_a_run_is_looked_at_rarely_and_not_again_once_its_atoms_are_known(
    job: FakeJob, card: LiveCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    class Seen(FakeTrajectory):
        def __len__(self) -> int:
            looks.append(self)
            return super().__len__()

    job.trajectory = Seen()
    card._structure._handle_custom_msg({"order": "watched", "page": "a", "watched": True}, [])
    for step in range(20):
        job.show(step, (job.atoms * (2, 1, 1)).positions)
    assert len(looks) == 1
    monkeypatch.setattr(live, "LOOK_PAUSE", 0.0)
    job.trajectory.append(job.atoms)
    before = len(looks)
    job.show(20, job.atoms.positions)
    after = len(looks)
    assert after > before
    for step in range(21, 40):
        job.show(step, job.atoms.positions)
    assert len(looks) == after


def test_what_came_too_soon_after_an_update_is_shown_when_the_page_has_answered(job: FakeJob, card: LiveCard) -> None:
    """A slow engine says nothing for minutes after its first row."""
    job.start()
    job.progress(0, temperature=300.0)
    serial, series = card.history()
    assert not series.rows
    obey(card, order="seen", serial=card.state()["serial"])
    assert card.history()[0] == serial + 1
    assert card.history()[1].rows == ((0.0, 300.0),)


def test_a_frame_that_came_too_soon_is_sent_when_the_page_has_answered(
    job: FakeJob, card: LiveCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    view = card._structure
    monkeypatch.setattr(view, "send", lambda message, buffers: sent.append(message["step"]))
    view._handle_custom_msg({"order": "watched", "page": "a", "watched": True}, [])
    job.show(100, job.atoms.positions)
    job.show(200, job.atoms.positions)
    assert sent == [100]
    until(lambda: view._handle_custom_msg({"order": "seen", "serial": 1}, []) or sent == [100, 200])


def test_a_structure_is_built_once_and_only_when_shown() -> None:
    job = FakeJob()
    job.end()
    card = LiveCard(job)
    assert len(card.box.children) == 1
    obey(card, order="structure", shown=True)
    view = card.box.children[1]
    obey(card, order="structure", shown=False)
    obey(card, order="structure", shown=True)
    assert card.box.children[1] is view
    card.close()


def test_changes_from_many_threads_lose_nothing(job: FakeJob, card: LiveCard) -> None:
    job.start()
    threads = [threading.Thread(target=job.tell, kwargs={"kind": "log", "text": f"line {n}"}) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(card._model.log) == sorted(f"line {n}" for n in range(50))


def test_a_silent_page_is_told_of_the_end_all_the_same(job: FakeJob, card: LiveCard) -> None:
    job.start()
    for step in range(50):
        job.progress(step, temperature=float(np.sin(step)))
    job.end()
    assert card._card.get_state("state")["state"]["status"] == str(Status.SUCCEEDED)
    assert card.history()[1].rows[-1][0] == 49
