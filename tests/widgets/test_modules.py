"""The modules of a widget, joined into one text for anywidget."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from nanoos_lab.widgets.modules import STATIC, joined

TOP_LEVEL = re.compile(r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+)", re.MULTILINE)


@pytest.mark.parametrize("name", ["group.js", "job.js", "structure.js"])
def test_a_joined_module_stands_by_itself(name: str) -> None:
    text = joined(name)
    assert "import " not in [line[:7] for line in text.splitlines()]
    assert re.findall(r"^export (\w+)", text, re.MULTILINE) == ["default"]
    names = Counter(TOP_LEVEL.findall(text))
    assert [found for found, count in names.items() if count > 1] == []


def test_every_module_is_used() -> None:
    text = joined("group.js") + joined("job.js") + joined("structure.js")
    for path in STATIC.glob("*.js"):
        declared = TOP_LEVEL.findall(path.read_text())
        assert all(re.search(rf"\b{name}\b", text) for name in declared), path.name


def test_nothing_comes_from_another_host() -> None:
    for path in STATIC.iterdir():
        addresses = set(re.findall(r"https?://[\w.]+", path.read_text()))
        assert addresses <= {"http://www.w3.org"}, path.name


def test_data_never_becomes_markup() -> None:
    for path in STATIC.glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", path.read_text()), (
            path.name
        )
