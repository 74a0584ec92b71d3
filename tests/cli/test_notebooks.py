"""JupyterLab on the user's own copies of the notebooks."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from nanoos_lab.cli.notebooks import copy_notebooks, shipped
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.command import Shell


def test_notebooks_are_copied_once_and_never_overwritten(tmp_path: Path) -> None:
    directory = tmp_path / "mine" / "notebooks"
    names = {copy.name for copy in copy_notebooks(directory)}
    assert {"01_first_job.ipynb", "02_relax_and_eos.ipynb", "03_melting.ipynb"} <= names
    (directory / "01_first_job.ipynb").write_text("my own work")
    (directory / "03_melting.ipynb").unlink()

    assert [copy.name for copy in copy_notebooks(directory)] == ["03_melting.ipynb"]
    assert (directory / "01_first_job.ipynb").read_text() == "my own work"


def test_the_shipped_notebooks_have_one_title_and_no_saved_output() -> None:
    for path in shipped().glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1, path.name
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code), path.name


def test_jupyterlab_opens_on_the_copies_with_the_lab_running(shell: Shell) -> None:
    port = _free_port()
    options = ("--no-browser", "--allow-root", f"--port={port}", "--IdentityProvider.token=secret")
    with shell.start("lab", "--directory", "copies", *options) as process:
        try:
            address = f"http://127.0.0.1:{port}/api/contents?token=secret"
            until(lambda: process.poll() is not None or _fetch(address), what="JupyterLab")
            content = json.loads(_fetch(address) or "{}")["content"]
        finally:
            process.terminate()
            process.communicate()
    assert "01_first_job.ipynb" in [item["name"] for item in content]
    assert shell("status", "--json").json()["running"] is True


def test_without_jupyterlab_the_command_says_what_to_install(shell: Shell) -> None:
    code = "import sys; sys.modules['jupyterlab'] = None; from nanoos_lab.cli import main; main()"
    command = [sys.executable, "-c", code, "lab"]
    done = subprocess.run(
        command, env=shell.environment, cwd=shell.directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert 'pip install "nanoos-lab[lab]"' in line
    assert list(shell.directory.iterdir()) == []


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _fetch(address: str) -> bytes | None:
    """Return a page, or None if nobody answers."""
    try:
        with urllib.request.urlopen(address) as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.URLError:
        return None
