"""What is shown of a job shows texts as texts, whoever wrote them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from ase.build import bulk

from nanoos_lab.cli.output import print_pairs, print_table, say
from nanoos_lab.core.errors import ParameterError
from nanoos_lab.core.record import Failure
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.widgets.model import CardModel
from nanoos_lab.widgets.modules import STATIC
from nanoos_lab.widgets.render import html_of, text_of
from nanoos_lab.widgets.series import COLUMNS
from tests.security.test_live import GARBAGE
from tests.widgets.fake import a_record

if TYPE_CHECKING:
    from nanoos_lab.core.record import JobRecord
    from nanoos_lab.lab.lab import Lab

EVIL = "<img src=x onerror=alert(1)>\x1b]0;title\x07'\"</script><script>alert(2)</script>"


def evil() -> JobRecord:
    failure = Failure(reason=Reason.ENGINE, message=EVIL, remedy=EVIL)
    return replace(a_record(), name=EVIL, formula=EVIL, status=Status.FAILED, failure=failure, scalars={EVIL: EVIL})


def test_the_static_table_has_no_markup_of_the_jobs() -> None:
    html = html_of(evil())
    assert "<img" not in html
    assert "<script" not in html


def test_the_line_for_terminals_has_no_control_characters() -> None:
    assert text_of(replace(evil(), formula="Cu")).isprintable()


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_the_pages_make_nothing_but_text_of_data(path) -> None:  # type: ignore[no-untyped-def]
    source = path.read_text(encoding="utf-8")
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert way not in source


@pytest.mark.parametrize("data", GARBAGE)
def test_a_card_shows_itself_after_any_event(data: bytes) -> None:
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return
    model = CardModel.of(replace(a_record(), status=Status.RUNNING)).with_event(event)
    json.dumps(model.to_json(datetime.now(UTC)))


def test_the_command_line_prints_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "[bold]status"), [(EVIL, "[link=http://example.org]x[/link]")])
    print_pairs([("message", f"{EVIL}\nsecond line"), (EVIL, 1)])
    say(EVIL)
    out, err = capsys.readouterr()
    assert "[link=http://example.org]x[/link]" in out
    assert "\nsecond line" in out
    assert {letter for letter in out + err if not letter.isprintable()} == {"\n"}


def test_a_name_that_would_move_the_cursor_is_refused(lab: Lab) -> None:
    with pytest.raises(ParameterError, match="name"):
        lab.submit(bulk("Cu"), engine="mock", task="static", name="fine\x1b[2J")


def test_a_card_takes_in_no_end_of_columns() -> None:
    model = CardModel.of(replace(a_record(), status=Status.RUNNING))
    for step in range(10):
        row = {f"column {step} {number}": 1.0 for number in range(100)}
        model = model.with_event({"kind": "progress", "step": step, "row": row})
    assert len(model.series.columns) == COLUMNS
