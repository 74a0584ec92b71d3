"""Links in documents lead somewhere, and dotted names exist."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(path.name for path in ROOT.glob("*.md"))


def exists(dotted: str) -> bool:
    """Say whether a dotted name is a module, or something in one."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for name in parts[count:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


@pytest.mark.parametrize("document", DOCUMENTS)
def test_relative_links_lead_to_files(document: str) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", (ROOT / document).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_in_the_tree_exist(document: str) -> None:
    paths = re.findall(r"`((?:nanoos_lab|tests|notebooks|\.ci)/[\w./\-]+)`", (ROOT / document).read_text())
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_dotted_names_exist(document: str) -> None:
    groups = {"nanoos_lab.engines", "nanoos_lab.tasks", "nanoos_lab.views"}
    names = set(re.findall(r"\bnanoos_lab(?:\.\w+)+", (ROOT / document).read_text())) - groups
    assert [name for name in sorted(names) if not exists(name)] == []
