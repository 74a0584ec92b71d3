"""Join the ES modules of a widget into the one text that anywidget sends to the page."""

from __future__ import annotations

import re
from pathlib import Path

STATIC = Path(__file__).parent / "static"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(?P<name>\w+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)


def joined(name: str) -> str:
    """Return module `name` of the static folder with the modules that it imports put before it, each once.

    The modules share one scope then, so their top-level names must differ.
    """
    found: dict[str, str] = {}
    _collect(name, found)
    return "\n".join(found.values())


def _collect(name: str, found: dict[str, str]) -> None:
    if name in found:
        return
    text = (STATIC / name).read_text(encoding="utf-8")
    for match in _IMPORT.finditer(text):
        _collect(match["name"], found)
    found[name] = _EXPORT.sub("", _IMPORT.sub("", text))
