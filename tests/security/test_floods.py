"""An engine may print or leave more than anybody can hold; who looks at it takes a part."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ase.build import bulk

if TYPE_CHECKING:
    from nanoos_lab.lab.lab import Lab

COPPER = bulk("Cu")


def test_the_end_of_a_log_is_read_without_the_log(lab: Lab) -> None:
    job = lab.submit(COPPER, engine="mock", task="static", output="the beginning\n" + 1000 * "x" + "\nthe end").wait(60)
    assert job.log_end(8) == "the end\n"
    assert "the beginning" in job.log_end()
    log = lab.services.artifacts.attempt_dir(job.id, 1) / "log.txt"
    with log.open("a") as file:
        # A hole: larger than memory, and nothing on disk.
        file.truncate(1 << 40)
    assert len(job.log_end(1000)) == 1000
    os.truncate(log, 0)
    assert job.log_end() == ""


def test_links_that_an_engine_leaves_lead_nowhere(lab: Lab) -> None:
    job = lab.submit(COPPER, engine="mock", task="static").wait(60)
    work = lab.services.artifacts.attempt_dir(job.id, 1) / "work"
    (work / "file").symlink_to("/etc/passwd")
    (work / "folder").symlink_to("/etc")
    (work / "loop").symlink_to(work)
    os.mkfifo(work / "pipe")
    assert not any(name.startswith(("file", "folder", "loop", "pipe")) for name in job.files)
