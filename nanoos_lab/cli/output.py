"""What the commands print: tables and lines for people, JSON for scripts."""

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

#: The option that a command for scripts has.
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
#: Width of tables that nobody looks at in a terminal, in characters.
_PIPE_WIDTH = 200


def console(*, stderr: bool = False) -> Console:
    """Return where to print; a pipe gets wide lines, so that nothing is cut."""
    found = Console(stderr=stderr, highlight=False, markup=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, markup=False, width=_PIPE_WIDTH)


def say(text: str) -> None:
    """Print a line for people on stderr, where it does not disturb what a script reads."""
    console(stderr=True).print(visible(text), soft_wrap=True)


def print_json(value: Any) -> None:
    """Print plain values; what JSON cannot hold becomes null (NaN) or its text (times, paths)."""
    print(json.dumps(_plain(value), indent=2, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their headings; None is an empty cell."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        table.add_column(name, no_wrap=index == 0, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else visible(str(cell)) for cell in row))
    console().print(table)


def print_pairs(pairs: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one to a line; None is left out."""
    shown = [(visible(name), visible(str(value))) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name:<{width}}  {value}")


def visible(text: str) -> str:
    """Return a text without characters that could do something to a terminal: names and messages are not ours."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "�" for letter in text)


def ago(moment: datetime | None) -> str | None:
    """Return how long ago something was, such as "3 min ago"."""
    if moment is None:
        return None
    seconds = max(0.0, (datetime.now(UTC) - moment).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def write_out(text: str) -> None:
    """Print text as it is, at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    return value if isinstance(value, (str, int, type(None))) else str(value)
