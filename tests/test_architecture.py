"""ARCHITECTURE.md draws the house as it is."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from nanoos_lab.core.status import MOVES

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()


def section(heading: str) -> str:
    return TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rows(heading: str) -> list[list[str]]:
    lines = [line for line in section(heading).splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_drawing_of_the_status_has_exactly_the_legal_moves() -> None:
    drawn = re.findall(r"^ +(\w+) --> (\w+)", section("Status"), re.MULTILINE)
    assert sorted(drawn) == sorted((str(old), str(new)) for old, news in MOVES.items() for new in news)


def test_a_status_that_is_drawn_as_final_has_no_way_out() -> None:
    final = re.findall(r"^ +(\w+) --> \[\*\]", section("Status"), re.MULTILINE)
    assert sorted(final) == sorted(str(status) for status, news in MOVES.items() if not news)


def test_the_floors_are_those_that_the_import_contracts_hold() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["id"] == "floors"]
    held = {name.strip(): len(layers) - 1 - index for index, layer in enumerate(layers) for name in layer.split("|")}
    drawn = {part.strip("`"): int(floor) for floor, part, *_ in rows("Floors")}
    assert drawn == held


def test_every_package_is_on_a_floor() -> None:
    packages = {path.parent.name for path in (ROOT / "nanoos_lab").glob("*/__init__.py")}
    assert packages == {part.strip("`") for _, part, *_ in rows("Floors")}


@pytest.mark.parametrize("row", rows("Words"), ids=lambda row: row[0])
def test_every_word_of_the_glossary_has_its_place_in_the_code(row: list[str]) -> None:
    module, _, name = row[2].strip("`").rpartition(".")
    assert hasattr(import_module(module), name)


def test_the_decisions_are_numbered_and_whole() -> None:
    records = re.split(r"\n### ", section("Decisions"))[1:]
    assert [int(record.split(".")[0]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        assert re.findall(r"\*(Context|Decision|Consequences)\.\*", record) == [
            "Context",
            "Decision",
            "Consequences",
        ]
