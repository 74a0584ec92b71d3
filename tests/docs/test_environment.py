"""environment.yml asks for what pyproject.toml asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
#: conda-forge's name → PyPI's, where they differ.
PYPI_NAMES = {"redis-py": "redis", "matplotlib-base": "matplotlib"}


def split(requirement: str) -> tuple[str, frozenset[str]]:
    """Return the name, extras included, and the version limits of a requirement."""
    found = re.fullmatch(r"([\w.\-]+(?:\[[\w,\-]+\])?)(.*)", requirement.replace(" ", ""))
    assert found, requirement
    return PYPI_NAMES.get(found.group(1), found.group(1)), frozenset(filter(None, found.group(2).split(",")))


def wanted() -> dict[str, frozenset[str]]:
    """Return what ``pip install ".[lab]"`` asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["lab"], *extras["lammps"], f"python{project['requires-python']}"]
    return dict(split(one) for one in needed if not one.startswith("nanoos-lab["))


def offered() -> dict[str, frozenset[str]]:
    """Return what the environment holds besides pip and this package."""
    found = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = [one for one in found if isinstance(one, str) and one != "pip"]
    (by_pip,) = [one["pip"] for one in found if isinstance(one, dict)]
    assert by_pip.pop() == "."
    return dict(split(one) for one in conda + by_pip)


def test_conda_users_get_the_versions_of_pyproject() -> None:
    assert offered() == wanted()
