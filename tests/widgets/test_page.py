"""The card on a bare page: no kernel, no JupyterLab, fed with plain states, as another transport may feed it."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from nanoos_lab.core.record import Failure, JobRecord
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.widgets.model import CardModel
from nanoos_lab.widgets.modules import STATIC, joined
from tests.widgets.fake import a_record

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

COLUMNS = [{"name": "time", "unit": "fs"}, {"name": "temperature", "unit": "K"}, {"name": "pressure", "unit": "GPa"}]
MAKE = """
window.orders = [];
window.card = new Card(document.querySelector("main"), (order) => orders.push(order));
"""
PLOT = "({ columns, rows }) => card.curve({ columns, rows: rows.map((row) => Float64Array.from(row)) })"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class BareCard:
    """A card in the body of an otherwise empty page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.set_content("<!doctype html><main style='width: 800px'></main>")
        page.add_style_tag(content=(STATIC / "card.css").read_text())
        script = (
            "window.orders = []; window.card = new Card(document.querySelector('main'), (order) => orders.push(order));"
        )
        page.add_script_tag(content=joined("card.js") + script, type="module")
        page.wait_for_function("window.card")

    def show(self, record: JobRecord, **changes: Any) -> None:
        """Show a job."""
        self.page.evaluate("(state) => card.update(state)", CardModel.of(record).to_json(NOW) | changes)

    def plot(self, rows: list[list[float]]) -> None:
        """Show a curve of step, time, temperature and pressure."""
        self.page.evaluate(PLOT, {"columns": COLUMNS, "rows": rows})

    @property
    def orders(self) -> list[dict[str, Any]]:
        """What the user has asked for."""
        found: list[dict[str, Any]] = self.page.evaluate("orders")
        return found

    @property
    def text(self) -> str:
        """All that is shown."""
        return str(self.page.locator("main").inner_text())

    def button(self, name: str) -> Locator:
        """A button by its name."""
        return self.page.get_by_role("button", name=name, exact=True)


@pytest.fixture
def card(page: Page) -> BareCard:
    return BareCard(page)


def a_running_record(**changes: Any) -> JobRecord:
    return a_record(status=Status.RUNNING, started=NOW, step=12_500, **changes)


def some_rows() -> list[list[float]]:
    return [[step, 2.0 * step, 300.0 + step / 10, -0.5] for step in range(0, 1000, 100)]


@pytest.mark.parametrize("status", Status)
def test_every_status_has_a_word_and_a_shape_of_its_own(card: BareCard, status: Status) -> None:
    card.show(a_record(status=status))
    assert status.capitalize() in card.text
    shapes = set()
    for other in Status:
        card.show(a_record(status=other))
        shapes.add(card.page.locator(".nanoos-status path").get_attribute("d"))
    assert len(shapes) == len(Status)


def test_progress_is_there_for_eyes_and_for_screen_readers(card: BareCard) -> None:
    card.show(a_running_record(), rate=1250.0, eta=30.0, elapsed=10.0)
    assert "12,500 / 50,000 steps" in card.text
    assert "1,250 steps/s" in card.text
    assert "30\u202fs left" in card.text
    bar = card.page.get_by_role("progressbar")
    assert bar.get_attribute("aria-valuenow") == "25"
    assert bar.get_attribute("aria-valuetext") == "Running, 25 %, 12,500 / 50,000 steps"


def test_without_a_total_no_percentage_is_made_up(card: BareCard) -> None:
    card.show(a_running_record(total=None))
    assert card.page.get_by_role("progressbar").get_attribute("aria-valuenow") is None
    assert "12,500 steps" in card.text


def test_only_changes_of_status_are_spoken(card: BareCard) -> None:
    voice = card.page.locator("[aria-live=polite]")
    assert voice.count() == 1
    card.show(a_running_record())
    card.show(a_running_record(), step=20_000)
    assert voice.inner_text() == ""
    card.show(a_record(status=Status.SUCCEEDED))
    assert voice.inner_text() == "copper at 600 K: Succeeded"


def test_a_failure_shows_the_cause_before_what_to_do(card: BareCard) -> None:
    failure = Failure(reason=Reason.MEMORY, message="the engine used 64 GB", remedy="Ask for fewer atoms.")
    card.show(a_record(status=Status.FAILED, failure=failure))
    assert (
        card.text.index("Out of memory") < card.text.index("the engine used 64 GB") < card.text.index("Ask for fewer")
    )


def test_results_that_have_not_converged_come_with_a_warning(card: BareCard) -> None:
    scalars = {"energy": -1.0, "converged": False, "caveat": "the relaxation did not converge"}
    card.show(a_record(status=Status.SUCCEEDED, scalars=scalars))
    assert "Succeeded" in card.text
    assert "Not converged the relaxation did not converge" in card.text


def test_whatever_comes_in_stays_text(card: BareCard) -> None:
    evil = "<img src=x onerror='window.hit = 1'>"
    failure = Failure(reason=Reason.ENGINE, message=evil, remedy=evil)
    record = a_record(name=evil, formula=evil, engine=evil, status=Status.FAILED, failure=failure, scalars={evil: evil})
    card.show(record, warning=evil, notice=evil)
    card.page.evaluate("(text) => card.log([text])", evil)
    assert card.page.locator("img").count() == 0
    assert card.text.count(evil) >= 5
    assert card.page.evaluate("window.hit") is None


def test_cancel_is_one_click_for_a_young_run(card: BareCard) -> None:
    card.show(a_running_record(), elapsed=10.0)
    card.button("Cancel").click()
    assert card.orders == [{"order": "cancel"}]
    assert card.button("Cancelling…").is_disabled()


def test_cancel_asks_again_for_a_run_that_has_cost_much(card: BareCard) -> None:
    card.show(a_running_record(), elapsed=3600.0)
    card.button("Cancel").click()
    assert card.orders == []
    card.button("Cancel it?").click()
    assert card.orders == [{"order": "cancel"}]


def test_a_cancel_that_nobody_takes_in_is_explained(card: BareCard) -> None:
    card.show(a_running_record(), elapsed=10.0)
    card.button("Cancel").click()
    card.page.get_by_text("nanoos-lab cancel").wait_for()


def test_a_card_without_its_feed_says_so_and_takes_no_orders(card: BareCard) -> None:
    record = a_running_record()
    card.show(record)
    card.page.evaluate("card.lose()")
    assert f'nl.load("{record.id}")' in card.text
    assert all(button.is_disabled() for button in card.page.get_by_role("button").all())


def test_the_plot_names_quantity_and_unit_on_both_axes(card: BareCard) -> None:
    card.show(a_running_record())
    card.plot(some_rows())
    assert "time (fs)" in card.text
    assert "temperature (K)" in card.text
    assert "390.00\u202fK" in card.text, "the newest value"


def test_another_column_can_be_chosen(card: BareCard) -> None:
    card.show(a_running_record())
    card.plot(some_rows())
    choice = card.page.get_by_label("Quantity to plot")
    assert choice.locator("option").all_inner_texts() == ["temperature (K)", "pressure (GPa)"]
    choice.select_option("pressure")
    assert "\u22120.50000\u202fGPa" in card.text
    card.plot([*some_rows(), [1000, 2000.0, 400.0, -0.25]])
    assert "\u22120.25000\u202fGPa" in card.text, "the choice stays"


def test_a_tiny_negative_number_has_the_same_sign_before_it_and_in_its_exponent(card: BareCard) -> None:
    card.show(a_running_record())
    card.plot([[0, 0.0, -2e-6, 0.1], [100, 200.0, -2e-6, 0.1]])
    assert "\u22122.0000e\u22126\u202fK" in card.text


def test_the_arrow_keys_read_the_curve(card: BareCard) -> None:
    card.show(a_running_record())
    card.plot(some_rows())
    card.page.locator(".nanoos-plot").focus()
    card.page.keyboard.press("Home")
    assert "300.00\u202fK" in card.text
    card.page.keyboard.press("ArrowRight")
    assert "310.00\u202fK" in card.text
    assert "at time 200.000\u202ffs" in card.text


STEERING = {
    "controls": [["temperature", 600.0, "K"], ["temperature_end", None, "K"], ["tdamp", 100.0, "fs"]],
    "marks": [],
    "answers": 0,
}


def test_a_run_is_steered_with_the_keyboard_alone(card: BareCard) -> None:
    card.show(a_running_record(), steering=STEERING)
    choice, field = card.page.get_by_label("Parameter to change"), card.page.get_by_label("New value")
    offered = ["temperature: 600\u202fK", "temperature end: none", "tdamp: 100\u202ffs"]
    assert choice.locator("option").all_inner_texts() == offered
    choice.focus()
    card.page.keyboard.press("ArrowDown")
    card.page.keyboard.press("ArrowDown")
    assert "\u202ffs" in card.page.locator(".nanoos-unit").inner_text()
    card.page.keyboard.press("Tab")
    card.page.keyboard.type("50")
    card.page.keyboard.press("Enter")
    assert card.orders == [{"order": "steer", "name": "tdamp", "value": 50}]
    assert card.button("Applying…").get_attribute("aria-disabled") == "true"
    card.page.keyboard.press("Enter")
    assert len(card.orders) == 1, "one answer is waited for at a time"
    card.show(a_running_record(), steering=STEERING | {"answers": 1})
    assert field.input_value() == ""
    assert card.page.locator("[aria-live=polite]").inner_text() == "copper at 600 K is being steered"
    assert choice.input_value() == "tdamp", "the choice stays"


def test_a_change_that_is_refused_stays_to_be_corrected(card: BareCard) -> None:
    card.show(a_running_record(), steering=STEERING)
    card.page.get_by_label("New value").fill("-1")
    card.button("Apply").click()
    refusal = "temperature=-1 is not allowed: must be a number ≥ 0"
    card.show(a_running_record(), steering=STEERING | {"answers": 1}, notice=refusal)
    assert refusal in card.text
    assert card.page.locator("[aria-live=polite]").inner_text() == refusal
    assert card.page.get_by_label("New value").input_value() == "-1"
    assert card.button("Apply").get_attribute("aria-disabled") == "false"


def test_a_change_without_a_value_is_not_sent(card: BareCard) -> None:
    card.show(a_running_record(), steering=STEERING)
    card.button("Apply").click()
    assert card.orders == []
    assert card.page.evaluate("document.activeElement.className") == "nanoos-number"


def test_a_change_that_nobody_takes_in_is_explained(card: BareCard) -> None:
    record = a_running_record()
    card.show(record, steering=STEERING)
    card.page.get_by_label("New value").fill("900")
    card.button("Apply").click()
    card.page.get_by_text(f"nanoos-lab steer {record.id} temperature=900").wait_for()


def test_what_cannot_be_steered_has_no_line_for_it(card: BareCard) -> None:
    card.show(a_running_record())
    assert card.page.get_by_label("New value").is_hidden()


def test_nothing_moves_while_a_change_is_under_way(card: BareCard) -> None:
    card.show(a_running_record(), steering=STEERING)
    card.plot(some_rows())
    field = card.page.get_by_label("New value")
    places = (
        "[...document.querySelectorAll('.nanoos-steering > *, .nanoos-plot')].map((one) => one.getBoundingClientRect())"
    )
    before = card.page.evaluate(f"JSON.stringify({places})")
    field.fill("900")
    field.press("Enter")
    card.button("Applying…").wait_for()
    assert card.page.evaluate(f"JSON.stringify({places})") == before


def test_the_plot_marks_where_the_run_was_changed(card: BareCard) -> None:
    card.show(
        a_running_record(),
        steering=STEERING | {"marks": [[0, "tdamp 50 fs"], [450, "temperature 900 K"], [2000, "tdamp 9 fs"]]},
    )
    card.plot(some_rows())
    # Before the plot has its width there is no room for both words.
    words = card.page.locator(".nanoos-change-words")
    words.nth(1).wait_for()
    # At one moment: the plot may yet be made wider.
    (first, second), begin, end = card.page.evaluate(
        """() => {
            const place = (node, name) => Number(node.getAttribute(name));
            const lines = [...document.querySelectorAll('.nanoos-change')].map((line) => place(line, 'x1'));
            const axis = document.querySelector('.nanoos-axis');
            return [lines, place(axis, 'x1'), place(axis, 'x2')];
        }"""
    )
    assert first == begin
    # Of the time axis that is 900 fs of 1800 fs.
    assert second - first == pytest.approx((end - first) / 2)
    assert words.all_text_contents() == ["tdamp 50 fs", "temperature 900 K"]
    told = card.page.locator(".nanoos-plot").get_attribute("aria-label") or ""
    assert "temperature 900 K from step 450 on" in told


def test_targets_are_large_enough_for_a_finger(card: BareCard) -> None:
    card.show(a_running_record(), steering=STEERING)
    card.plot(some_rows())
    fields = [card.page.get_by_label(name) for name in ("Quantity to plot", "Parameter to change", "New value")]
    for target in [*card.page.get_by_role("button").all(), *fields]:
        box = target.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 24


def test_nothing_moves_for_those_who_asked_for_that(card: BareCard) -> None:
    card.page.emulate_media(reduced_motion="reduce")
    card.show(a_running_record(total=None))
    style = "getComputedStyle(document.querySelector('.nanoos-bar > div'))"
    assert card.page.evaluate(f"[{style}.animationName, {style}.transitionProperty]") == ["none", "none"]


def test_a_static_calculation_shows_how_its_cycle_converges(card: BareCard) -> None:
    """By powers of ten, over the step, since no time passes."""
    columns = [{"name": "time", "unit": "fs"}, {"name": "potential_energy", "unit": "eV"}]
    columns += [{"name": "scf_accuracy", "unit": "Ry"}]
    card.show(a_running_record(task="static", engine="espresso"))
    rows = [[step, 0.0, -215.0 - 0.1 / step, 10.0 ** (1 - 2 * step)] for step in range(1, 6)]
    card.page.evaluate(PLOT, {"columns": columns, "rows": rows})
    assert card.page.locator(".nanoos-choice").input_value() == "scf_accuracy"
    *_, abscissa = card.page.locator(".nanoos-tick").all_text_contents()
    assert abscissa.lower() == "step"
    # On a scale by powers of ten this fall is a straight line.
    line = card.page.locator(".nanoos-curve").get_attribute("d") or ""
    heights = [float(point.split()[1]) for point in line[1:].split("L")]
    falls = [lower - upper for upper, lower in pairwise(heights)]
    assert falls == pytest.approx([falls[0]] * 4, abs=0.2)
    assert falls[0] > 5
