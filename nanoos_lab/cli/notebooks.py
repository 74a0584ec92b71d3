"""The command that opens JupyterLab on the example notebooks."""

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from nanoos_lab.cli.output import say
from nanoos_lab.cli.session import open_lab
from nanoos_lab.core.errors import SettingsError


def lab(
    context: typer.Context,
    directory: Annotated[
        Path, typer.Option("--directory", "-d", help="Where your copies of the notebooks are.")
    ] = Path("nanoos_lab-notebooks"),
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address, open no browser.")] = False,
) -> None:
    """Open JupyterLab on the example notebooks.

    The lab of this computer is started. Notebooks that are in the directory already are left as they are.
    Further options go to JupyterLab, such as --port=8899, or --allow-root in a container.
    """
    if find_spec("jupyterlab") is None:
        raise SettingsError('JupyterLab is not installed here; pip install "nanoos-lab[lab]" brings it')
    copied = copy_notebooks(directory)
    if copied:
        say(f"{len(copied)} notebooks copied to {directory}")
    with open_lab() as opened:
        opened.start()
    options = [*(["--no-browser"] if no_browser else []), *context.args]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", str(directory), *options])  # noqa: S606


def copy_notebooks(directory: Path) -> list[Path]:
    """Copy the shipped notebooks that the directory lacks; return the copies."""
    directory.mkdir(parents=True, exist_ok=True)
    wanted = {source: directory / source.name for source in sorted(shipped().glob("*.ipynb"))}
    missing = {source: copy for source, copy in wanted.items() if not copy.exists()}
    for source, copy in missing.items():
        shutil.copyfile(source, copy)
    return list(missing.values())


def shipped() -> Path:
    """Return the directory of the notebooks: in the source tree, or inside the installed package."""
    package = Path(__file__).resolve().parents[1]
    tree = package.parent / "notebooks"
    return tree if (package.parent / "pyproject.toml").exists() else package / "_notebooks"
