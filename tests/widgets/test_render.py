"""What a page without a kernel and a terminal show."""

from __future__ import annotations

from html.parser import HTMLParser

from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook, new_output

from nanoos_lab.core.record import Failure
from nanoos_lab.core.status import Reason, Status
from nanoos_lab.widgets.render import html_of, mimebundle, text_of
from tests.widgets.fake import FakeJob, a_record


class Text(HTMLParser):
    """Collects the text and the tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_outside_of_jupyter_a_job_is_a_line_and_a_table() -> None:
    assert set(mimebundle(FakeJob())) == {"text/plain", "text/html"}


def test_the_line_holds_nothing_that_changes_from_run_to_run() -> None:
    assert text_of(a_record()) == text_of(a_record(status=Status.FAILED, step=7, attempt=2))
    assert "\n" not in text_of(a_record())


def test_the_table_says_where_the_job_stands_and_what_to_do() -> None:
    failure = Failure(reason=Reason.ENGINE, message="Lost atoms", remedy="Use a smaller timestep.")
    text = " ".join(Text(html_of(a_record(status=Status.FAILED, step=1000, failure=failure))).texts)
    assert "failed, 1,000 of 50,000 steps" in text
    for part in ("copper at 600 K", "2,048 atoms", "engine: Lost atoms", "smaller timestep"):
        assert part in text


def test_the_table_shows_results_with_units() -> None:
    scalars = {"bulk_modulus": 137.2, "iterations": 12}
    text = Text(html_of(a_record(status=Status.SUCCEEDED, scalars=scalars))).texts
    assert text[-4:] == ["bulk modulus", "137.2 GPa", "iterations", "12"]


def test_a_page_made_by_nbconvert_shows_the_table_where_no_widget_can_live() -> None:
    bundle = mimebundle(FakeJob()) | {"application/vnd.jupyter.widget-view+json": {"model_id": "gone"}}
    notebook = new_notebook(cells=[new_code_cell("job", outputs=[new_output("display_data", data=bundle)])])
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert "Cu2048, 2,048 atoms" in " ".join(Text(page).texts)


def test_names_are_text_and_never_markup() -> None:
    page = Text(html_of(a_record(name="<script>alert(1)</script><img src=x>")))
    assert page.tags <= {"table", "tbody", "tr", "th", "td"}
    assert any("<script>alert(1)</script>" in text for text in page.texts)
