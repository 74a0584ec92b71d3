"""Outputs of real runs of VASP, which are not part of the project: where they are, and what is done if they are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

#: Where the folder is, if it is not beside the project.
VARIABLE = "NANOOS_VASP_DATA"
_ROOT = Path(__file__).parents[3]

#: Those with an OUTCAR: name, number of ionic steps.
OUTCARS = {
    "basic_run": 1,
    "exit_codes/converged/out": 1,
    "exit_codes/converged-with-error/out": 1,
    "exit_codes/elec-unconverged/out": 1,
    "exit_codes/ionic-unconverged/out": 5,
    "exit_codes/unfinished/out": 0,
    "ionic-relax-magmom-carry-on/calc-000/out": 5,
    "ionic-relax-magmom-carry-on/calc-001/out": 4,
    "magnetization_single": 1,
    "test_bands_wc/out": 1,
}
#: Those with a vasprun.xml.
XMLS = {**OUTCARS, "relax": 19, "relax-truncated": 18, "spin": 1}
del XMLS["magnetization_single"]


def folder() -> Path:
    """Return where the recordings are, if they are there."""
    return Path(os.environ.get(VARIABLE) or _ROOT.parent / "shared/data/vasp")


def lacking(*names: str) -> str:
    """Say where these recordings are not; empty if they are there."""
    if all((folder() / name).is_dir() for name in names):
        return ""
    return f"the recordings of VASP's output are neither beside the project nor where {VARIABLE} says: {folder()}"


def recording(name: str) -> Path:
    """Return the directory of a recording; skip the test if it is not there."""
    if why := lacking(name):
        pytest.skip(why)
    return folder() / name
