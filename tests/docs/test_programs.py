"""What happens on a machine that lacks a program which the tests need."""

from __future__ import annotations

import pytest

from tests.fixtures.programs import program


def test_without_a_program_a_test_is_skipped_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("NANOOS_CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt-get install no-such-package"):
        program("no-such-program", package="no-such-package")


def test_in_ci_nothing_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANOOS_CI", "1")
    with pytest.raises(pytest.fail.Exception, match="apt-get install no-such-package"):
        program("no-such-program", package="no-such-package")


def test_an_installed_program_is_found() -> None:
    assert program("no-such-program", "sh", package="dash").endswith("/sh")
