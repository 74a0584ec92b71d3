"""The overview of a group on a bare page: no kernel, no JupyterLab, fed with plain states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nanoos_lab.core.record import Failure
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.widgets.modules import STATIC, joined
from nanoos_lab.widgets.overview import OverviewModel
from tests.waiting import until
from tests.widgets.fake import FakeGroup, a_record

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from nanoos_lab.core.record import JobRecord

pytestmark = pytest.mark.browser

MAKE = """
window.orders = [];
window.overview = new Overview(document.querySelector("main"), (order) => orders.push(order));
"""


class BareOverview:
    """An overview in the body of an otherwise empty page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.set_content("<!doctype html><main style='width: 800px'></main>")
        for name in ("card.css", "group.css"):
            page.add_style_tag(content=(STATIC / name).read_text())
        page.add_script_tag(content=joined("overview.js") + MAKE, type="module")
        page.wait_for_function("window.overview")

    def show(self, *records: JobRecord, **changes: Any) -> None:
        """Show jobs."""
        state = OverviewModel.of(FakeGroup(*records), 0.0).to_json() | changes
        self.page.evaluate("(state) => overview.update(state)", state)

    @property
    def text(self) -> str:
        """All that is shown."""
        return str(self.page.locator("main").inner_text())

    @property
    def rows(self) -> list[str]:
        """The names of the jobs in the table."""
        return self.page.locator("tr .nanoos-name").all_inner_texts()

    @property
    def orders(self) -> list[dict[str, Any]]:
        """What the user has asked for."""
        found: list[dict[str, Any]] = self.page.evaluate("orders")
        return found


@pytest.fixture
def overview(page: Page) -> BareOverview:
    return BareOverview(page)


def test_counts_and_progress_are_there_for_eyes_and_for_screen_readers(overview: BareOverview) -> None:
    running = a_record(status=Status.RUNNING, step=12_500)
    overview.show(running, a_record(status=Status.SUCCEEDED), eta=200.0)
    assert "2 jobs" in overview.text
    assert "1 running" in overview.text
    assert "1 succeeded" in overview.text
    assert "62\u202f%  ·  about 3\u202fmin 20\u202fs left" in overview.text
    bar = overview.page.get_by_role("progressbar", name="Progress")
    assert bar.get_attribute("aria-valuenow") == "62"
    assert bar.get_attribute("aria-valuetext") == "62\u202f%, 1 running, 1 succeeded"
    parts = overview.page.locator(".nanoos-parts > div")
    widths = {part.get_attribute("data-status"): part.evaluate("part => part.style.width") for part in parts.all()}
    assert widths == {"succeeded": "50%", "failed": "0%", "cancelled": "0%", "running": "12.5%"}


def test_rows_come_go_and_change_in_place(overview: BareOverview) -> None:
    overview.show(*(a_record(name=name) for name in ("one", "two", "three")))
    assert overview.rows == ["one", "two", "three"]
    kept = overview.page.locator("tr").first.element_handle()
    overview.show(a_record(name="two", status=Status.RUNNING, step=25_000))
    assert overview.rows == ["two"]
    assert kept is not None
    assert "Running" in kept.inner_text()
    assert "25,000 / 50,000 steps" in kept.inner_text()
    overview.show(*(a_record(name=str(number)) for number in range(1000)))
    assert len(overview.rows) == 20
    assert "and 980 more" in overview.text


def test_cancel_asks_again_and_says_for_how_many(overview: BareOverview) -> None:
    jobs = [a_record(), a_record(status=Status.RUNNING), a_record(status=Status.SUCCEEDED)]
    overview.show(*jobs)
    button = overview.page.locator(".nanoos-cancel")
    button.click()
    assert (overview.orders, button.inner_text()) == ([], "Cancel 2 jobs?")
    button.click()
    assert (overview.orders, button.inner_text()) == ([{"order": "cancel"}], "Cancelling…")
    assert button.is_disabled()
    until(lambda: "The kernel is busy" in overview.text)
    overview.show(*jobs, notice="the database does not answer")
    assert "the database does not answer" in overview.text
    assert button.is_enabled()
    overview.show(a_record(status=Status.CANCELLED))
    assert button.is_hidden()


def test_only_the_end_is_spoken(overview: BareOverview) -> None:
    voice = overview.page.locator("[aria-live=polite]")
    overview.show(a_record())
    overview.show(a_record(status=Status.RUNNING))
    assert voice.inner_text() == ""
    overview.show(a_record(status=Status.SUCCEEDED), a_record(status=Status.FAILED))
    assert voice.inner_text() == "Fake group: Failed"


def test_whatever_comes_in_stays_text(overview: BareOverview) -> None:
    evil = "<img src=x onerror='window.hit = 1'>"
    failure = Failure(reason=Reason.ENGINE, message=evil, remedy="")
    overview.show(a_record(name=evil, status=Status.FAILED, failure=failure), title=evil, about=evil, notice=evil)
    assert overview.page.locator("img").count() == 0
    assert overview.text.count(evil) >= 5
    assert overview.page.evaluate("window.hit") is None


def test_an_overview_whose_kernel_is_gone_stands_still_and_says_so(overview: BareOverview) -> None:
    overview.show(a_record(status=Status.RUNNING), eta=100.0)
    overview.page.evaluate("overview.lose()")
    assert "No longer live" in overview.text
    assert "left" not in overview.text
    assert overview.page.locator(".nanoos-cancel").is_disabled()
