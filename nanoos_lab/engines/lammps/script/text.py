"""LAMMPS's input language as text: logical lines, comments, quotes and words. Pure.

The rules are those of LAMMPS's own reader (manual, page ``Commands_parse``).
"""

from __future__ import annotations

from dataclasses import dataclass

from nanoos_lab.core.errors import InputError

_TRIPLE = '"""'


@dataclass(frozen=True)
class Line:
    """A logical line: continued lines joined, comments gone."""

    #: Number of its first physical line, from 1.
    number: int
    #: Its text; never empty.
    text: str


@dataclass(frozen=True)
class Word:
    """An argument."""

    #: The text, without its quotes.
    text: str
    #: Whether it was in quotes.
    quoted: bool


def is_number(word: str) -> bool:
    """Say whether a word is a number."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def lines_of(script: str) -> list[Line]:
    """Split a script into logical lines, empty ones left out.

    Raises
    ------
    InputError
        For quotes without a partner, and for characters that LAMMPS would replace by others.
    """
    found: list[Line] = []
    pending, start = "", 0
    for number, physical in enumerate(script.splitlines(), start=1):
        start = start or number
        pending += physical
        if pending.count(_TRIPLE) % 2:
            pending += "\n"
        elif pending.rstrip().endswith("&"):
            pending = pending.rstrip()[:-1]
        else:
            _append(found, start, pending)
            pending, start = "", 0
    _append(found, start, pending)
    return found


def _append(found: list[Line], number: int, raw: str) -> None:
    try:
        text = without_comment(raw).strip()
        check_characters(text)
    except InputError as error:
        raise InputError(f"line {number}: {error}") from None
    if text:
        found.append(Line(number, text))


def check_characters(text: str) -> None:
    """Raise for characters outside of printable ASCII.

    LAMMPS turns some of them into quotes and spaces after this reader has looked at the line.
    """
    for character in text:
        if not (" " <= character <= "~" or character in "\t\n"):
            raise InputError(f"character {character!r} is only allowed in comments")


def without_comment(text: str) -> str:
    """Cut a line at the first ``#`` that is not inside quotes."""
    position = 0
    while position < len(text):
        if text[position] == "#":
            return text[:position]
        quote = _quote_at(text, position)
        position = _end_of_quote(text, position, quote) if quote else position + 1
    return text


def words_of(text: str) -> list[Word]:
    """Split a logical line into its words; quotes count only at the start of a word."""
    found: list[Word] = []
    rest = text.strip()
    while rest:
        quote = _quote_at(rest, 0)
        if quote:
            end = _end_of_quote(rest, 0, quote)
            if end < len(rest) and not rest[end].isspace():
                raise InputError(f"a closing quote must be followed by a space: {rest[: end + 1]!r}")
            found.append(Word(rest[len(quote) : end - len(quote)], quoted=True))
        else:
            end = next((index for index, letter in enumerate(rest) if letter.isspace()), len(rest))
            found.append(Word(rest[:end], quoted=False))
        rest = rest[end:].lstrip()
    return found


def outside_quotes(text: str) -> str:
    """Return the parts of a line that are not inside quotes, where LAMMPS puts in variables."""
    parts = []
    position = 0
    while position < len(text):
        quote = _quote_at(text, position)
        if quote:
            position = _end_of_quote(text, position, quote)
        else:
            parts.append(text[position])
            position += 1
    return "".join(parts)


def _quote_at(text: str, position: int) -> str:
    if text.startswith(_TRIPLE, position):
        return _TRIPLE
    return text[position] if text[position] in "'\"" else ""


def _end_of_quote(text: str, position: int, quote: str) -> int:
    """Return the position after the quote that closes the one at `position`."""
    end = text.find(quote, position + len(quote))
    if end < 0:
        raise InputError(f"a quote has no partner: {text[position:]!r}")
    return end + len(quote)
