"""Signatures are found in output, and become errors with a remedy and a correction."""

from __future__ import annotations

from nanoos_lab.core.status import Reason
from nanoos_lab.engines.signatures import Scanner, Signature, ladder, scaled

TABLE = (
    Signature(
        name="unconverged",
        pattern=r"NOT achieved",
        reason=Reason.CONVERGENCE,
        meaning="it did not converge",
        remedy="Mix less.",
        correct=scaled("mixing", 0.5, 0.1, "mixing {before} → {after}", default=0.7),
    ),
    Signature(
        name="overlap",
        pattern=r"atoms \d+ and \d+ overlap",
        reason=Reason.INPUT,
        meaning="they overlap",
        remedy="Move.",
    ),
)


def test_the_most_telling_sign_is_the_first_of_the_table() -> None:
    scanner = Scanner(TABLE)
    assert scanner.feed("all is well") is None
    assert scanner.scan(["  atoms 1 and 2 overlap!", "convergence NOT achieved after 3", "NOT achieved again"])
    assert scanner.worst is not None
    assert (scanner.worst.signature.name, scanner.worst.line) == ("unconverged", "convergence NOT achieved after 3")
    assert "overlap" in scanner
    assert "other" not in scanner


def test_its_error_has_the_programs_own_line_and_a_correction() -> None:
    sign = Scanner(TABLE).scan(["convergence NOT achieved"])
    assert sign is not None
    error = sign.error("pw.x", {"mixing": 0.4})
    assert str(error) == "it did not converge. pw.x says: convergence NOT achieved"
    assert (error.reason, error.remedy) == (Reason.CONVERGENCE, "Mix less.")
    assert error.correction is not None
    assert (error.correction.changes, error.correction.why) == ({"mixing": 0.2}, "mixing 0.4 → 0.2")
    assert sign.error("pw.x", {"mixing": 0.15}).correction is None
    assert sign.error("pw.x", {}).correction.changes == {"mixing": 0.35}


def test_a_ladder_has_an_end() -> None:
    correct = ladder("algo", ["david", "paro", "cg"], "{before} → {after}", default="david", from_start=True)
    assert correct({}).changes == {"algo": "paro"}
    assert correct({"algo": "paro"}).changes == {"algo": "cg"}
    assert correct({"algo": "cg"}) is None
    assert correct({"algo": "own"}).changes == {"algo": "david"}
    assert correct({}).from_start
