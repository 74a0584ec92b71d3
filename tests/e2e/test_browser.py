"""The live card in a real JupyterLab, run by real workers and seen by a real browser."""

from __future__ import annotations

import os
import shutil
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.fixtures.browser import crash, keep, open_notebook, opened
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

    from tests.fixtures.browser import Card, Jupyter

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
#: A run that goes on until it is cancelled.
SUBMIT = """
import nanoos_lab as nl
from ase.build import bulk
job = nl.submit(bulk("Cu", cubic=True) * (5, 5, 5), engine="lammps", task="md", potential="Cu_u3.eam",
                temperature=600, steps=50_000_000, every=100, name="copper")
job
"""
#: A run with a thermostat that goes on until it is cancelled.
SUBMIT_STEERED = """
import nanoos_lab as nl
from ase.build import bulk
job = nl.submit(bulk("Cu", cubic=True) * (5, 5, 5), engine="lammps", task="md", potential="Cu_u3.eam", ensemble="nvt",
                temperature=600, steps=50_000_000, every=100, name="steered")
job
"""
#: A run that makes ten frames of 96 kB a second.
SUBMIT_FRAMES = """
import nanoos_lab as nl
from ase.build import bulk
job = nl.submit(bulk("Cu", cubic=True) * (20, 10, 10), engine="mock", task="md", temperature=600, steps=10_000,
                every=1, duration=1000, name="frames")
job
"""
#: Six runs of some seconds, of which one fails.
SWEEP = """
import nanoos_lab as nl
from ase.build import bulk
sweep = nl.sweep(bulk("Cu", cubic=True), over={"temperature": [300, 600, 900], "fail_at": [None, 900]}, engine="mock",
                 task="md", steps=1000, every=10, duration=5)
sweep
"""
#: More runs than a table has rows; they go on until they are cancelled.
LARGE_SWEEP = """
import nanoos_lab as nl
from ase.build import bulk
sweep = nl.sweep(bulk("Cu", cubic=True), over={"seed": range(1, 301)}, engine="mock", task="md", steps=100_000,
                 every=10, duration=1000)
sweep
"""
#: How long the tab stays closed; a longer time is for a figure, not for every run of the tests.
UNWATCHED_SECONDS = float(os.environ.get("NANOOS_UNWATCHED_SECONDS", "20"))
#: Bytes by which a process may grow meanwhile; all frames would be 1 MB a second.
MOST_GROWTH = 8 * 2**20
#: Supercells of a small crystal.
PHONONS = """
import nanoos_lab as nl
from ase.build import bulk
crystal = bulk("Cu", cubic=True)
crystal.rattle(0.01)  # So that no two of its 24 displacements are the same by symmetry.
job = nl.submit(crystal, engine="ase", task="phonons", calculator="emt", supercell=9, name="phonons")
job
"""
#: Computes for ten minutes unless the kernel is shut down before.
BUSY = """
import time
end = time.monotonic() + 600
while time.monotonic() < end:
    sum(range(10_000))
"""


def grows(value: Callable[[], int]) -> int:
    """Wait until a number is larger than it is now, and return it."""
    before = value()
    until(lambda: value() > before)
    return value()


def moves(card: Card) -> bool:
    """Whether the atoms of a card are elsewhere after a while."""
    before = card.picture()
    until(lambda: share_of_changed_pixels(before, card.picture()) > 0.01)
    return True


def growth_in_memory(jupyter: Jupyter, *, settle: float, seconds: float) -> dict[str, int]:
    """Return by how many bytes server and kernels grow within a time, once they have settled."""
    processes = {"server": jupyter.process} | {f"kernel {kernel.pid}": kernel for kernel in jupyter.kernels}
    time.sleep(settle)
    before = {name: process.memory_info().rss for name, process in processes.items()}
    time.sleep(seconds)
    growth = {name: process.memory_info().rss - before[name] for name, process in processes.items()}
    print(f"growth within {seconds:g} s: {growth}")
    return growth


def share_of_changed_pixels(before: np.ndarray, after: np.ndarray) -> float:
    if before.shape != after.shape:
        return 0.0
    return float((np.abs(before.astype(int) - after).max(axis=2) > 30).mean())


def is_dark(picture: np.ndarray) -> bool:
    return bool(picture[2, 2].max() < 60)


def colours(picture: np.ndarray) -> int:
    return len(np.unique(picture.reshape(-1, 3), axis=0))


def test_a_run_of_a_supercell_is_seen_whole(jupyter: Jupyter, page: Page) -> None:
    """The card begins with the atoms that were submitted, and those of the run take more room."""
    jupyter.write("phonons.ipynb", [PHONONS])
    with opened(page, jupyter, "phonons.ipynb") as notebook:
        notebook.run_all()
        card = notebook.card()
        canvas = card.box.locator("canvas")
        until(lambda: canvas.get_attribute("aria-label") == "Structure of 2,916 atoms")
        until(lambda: colours(card.picture()) > 50)
        # Nothing is cut off at the upper edge; the lower one has the caption.
        until(lambda: colours(card.picture()[8:12]) == 1)
        assert canvas.get_attribute("aria-label") == "Structure of 2,916 atoms"
        keep(page, "phonons")
        until(lambda: card.status == "Succeeded", seconds=120)
        until(lambda: canvas.get_attribute("aria-label") == "Structure of 4 atoms")


def test_the_first_notebook_shows_its_job_live(jupyter: Jupyter, page: Page) -> None:
    """As a user does: open the notebook, run it, look."""
    shutil.copy(NOTEBOOKS / "01_first_job.ipynb", jupyter.root)
    with opened(page, jupyter, "01_first_job.ipynb") as notebook:
        notebook.record()
        notebook.run_all()
        card = notebook.card()
        card.box.scroll_into_view_if_needed()
        first = card.picture()
        assert colours(first) > 50, "spheres have shades"
        until(lambda: share_of_changed_pixels(first, card.picture()) > 0.01)
        keep(page, "first-job-running")
        until(lambda: card.status == "Succeeded", seconds=120)
        until(lambda: card.points == 51)
        until(lambda: card.shown_step == 5000)
        assert (card.progress, card.steps) == (100, 5000)
        assert card.box.locator(".nanoos-step").inner_text() == "step 5,000"
        bar, curve = zip(*notebook.seen, strict=True)
        assert len(set(bar)) >= 5, "the bar moved"
        assert len(set(curve)) >= 5, "the curve grew"
        assert list(bar) == sorted(bar)
        for theme in ("Light", "Dark"):
            notebook.theme(f"JupyterLab {theme}")
            until(lambda dark=theme == "Dark": is_dark(card.picture()) == dark)
            keep(page, f"first-job-{theme.lower()}")


def test_the_card_lives_and_its_cancel_works_while_another_cell_computes(jupyter: Jupyter, page: Page) -> None:
    jupyter.write("busy.ipynb", [SUBMIT, BUSY])
    with opened(page, jupyter, "busy.ipynb") as notebook:
        notebook.run_all()
        card = notebook.card()
        until(lambda: card.status == "Running")
        page.wait_for_selector(".jp-CodeCell >> nth=1 >> text=[*]")
        steps = [grows(lambda: card.steps) for _ in range(5)]
        assert all(later > earlier for earlier, later in pairwise(steps))
        assert moves(card)
        card.cancel()
        until(lambda: card.status == "Cancelled")
        assert page.locator(".jp-CodeCell").nth(1).get_by_text("[*]").count() == 1, "the cell still computes"


@pytest.mark.parametrize("services", ["jupyter", "cluster_jupyter"])
def test_a_run_is_steered_from_its_card_with_the_keyboard(
    request: pytest.FixtureRequest, services: str, page: Page
) -> None:
    jupyter: Jupyter = request.getfixturevalue(services)
    jupyter.write("steered.ipynb", [SUBMIT_STEERED])
    with opened(page, jupyter, "steered.ipynb") as notebook:
        notebook.run(0)
        card = notebook.card()
        until(lambda: card.points > 5)
        choice, field = (card.box.get_by_label(name) for name in ("Parameter to change", "New value"))

        def moved() -> bool:
            # The page may put the focus elsewhere once more, when the cell has been run.
            choice.select_option("temperature")
            choice.press("ArrowDown")
            return choice.input_value() == "temperature_end"

        until(moved)
        choice.press("ArrowUp")
        until(lambda: choice.input_value() == "temperature")
        field.fill("-1")
        field.press("Enter")
        refusal = card.box.get_by_text("temperature=-1 is not allowed: must be a number ≥ 0")
        refusal.first.wait_for()
        keep(page, "steering-refused")
        field.fill("900")
        field.press("Enter")
        card.box.locator(".nanoos-change-words").get_by_text("temperature 900 K").wait_for()
        assert "temperature: 900\u202fK" in choice.locator("option").all_inner_texts()
        assert field.input_value() == ""
        keep(page, "steered-light")
        notebook.theme("JupyterLab Dark")
        keep(page, "steered-dark")
        notebook.theme("JupyterLab Light")
        card.cancel()
        until(lambda: card.status == "Cancelled")
        assert field.is_hidden()
        assert card.box.locator(".nanoos-change").count() == 1, "the mark stays"


def test_a_job_is_shown_live_again_after_a_restart_of_the_kernel(jupyter: Jupyter, page: Page) -> None:
    jupyter.write("restart.ipynb", [SUBMIT, "import nanoos_lab as nl\nnl.load(nl.jobs(limit=1).index[0])"])
    with opened(page, jupyter, "restart.ipynb") as notebook:
        notebook.run(0)
        card = notebook.card()
        until(lambda: card.points > 5)
        steps, points = card.steps, card.points
        notebook.restart_kernel()
        notebook.run(1)
        page.wait_for_selector(".jp-CodeCell >> nth=1 >> .nanoos-card")
        card = notebook.card(page.locator(".nanoos-job").count() - 1)
        until(lambda: card.points >= points)
        assert card.steps >= steps
        grows(lambda: card.steps)
        card.cancel()
        until(lambda: card.status == "Cancelled")


@pytest.mark.timeout(600 + UNWATCHED_SECONDS)
def test_kernel_and_server_do_not_grow_while_nobody_looks(jupyter: Jupyter, page: Page) -> None:
    """The tab vanishes while a job makes a megabyte of frames a second; they must not pile up anywhere."""
    jupyter.write("closed.ipynb", [SUBMIT_FRAMES])
    left = open_notebook(page, jupyter, "closed.ipynb")
    left.run_all()
    until(lambda: left.card().shown_step > 100)
    left.save()
    page = crash(page)
    growth = growth_in_memory(jupyter, settle=5, seconds=UNWATCHED_SECONDS)
    assert all(size < MOST_GROWTH for size in growth.values()), growth
    with opened(page, jupyter, "closed.ipynb") as notebook:
        card = notebook.card()
        assert moves(card), "whoever comes back sees it live"
        card.cancel()
        until(lambda: card.status == "Cancelled")


def test_a_sweep_is_shown_live_to_its_end(jupyter: Jupyter, page: Page) -> None:
    jupyter.write("sweep.ipynb", [SWEEP, "sweep", "print(sweep)"])
    with opened(page, jupyter, "sweep.ipynb") as notebook:
        notebook.run(0)
        overview = notebook.overview()
        seen: list[int] = []

        def moved_to(status: str) -> bool:
            seen.append(overview.progress)
            return overview.status == status

        until(lambda: moved_to("Running") and any("steps" in row for row in overview.rows))
        keep(page, "sweep-running-light")
        notebook.theme("JupyterLab Dark")
        keep(page, "sweep-running-dark")
        until(lambda: moved_to("Failed"), seconds=180)
        assert len(set(seen)) >= 5, "the bar moved"
        assert seen == sorted(seen)
        assert overview.counts == {"succeeded": 3, "failed": 3}
        assert len(overview.rows) == 6
        assert "engine: " in overview.rows[1]
        assert overview.box.locator(".nanoos-cancel").is_hidden()
        keep(page, "sweep-ended-dark")
        notebook.theme("JupyterLab Light")
        keep(page, "sweep-ended-light")
        notebook.run(1)
        assert notebook.overview(1).counts == overview.counts, "shown twice, it is the same"


def test_a_large_sweep_is_shown_and_cancelled_while_another_cell_computes(jupyter: Jupyter, page: Page) -> None:
    jupyter.write("large.ipynb", [LARGE_SWEEP, BUSY])
    with opened(page, jupyter, "large.ipynb") as notebook:
        notebook.run_all()
        overview = notebook.overview()
        until(lambda: overview.counts.get("running") == 2)
        page.wait_for_selector(".jp-CodeCell >> nth=1 >> text=[*]")
        grows(lambda: overview.steps)
        assert len(overview.rows) == 20
        assert overview.box.get_by_text("and 280 more").count() == 1
        keep(page, "large-sweep")
        overview.cancel()
        until(lambda: overview.status == "Cancelled")
        assert overview.counts == {"cancelled": 300}
        assert page.locator(".jp-CodeCell").nth(1).get_by_text("[*]").count() == 1, "the cell still computes"
