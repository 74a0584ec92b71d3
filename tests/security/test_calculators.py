"""A lab that allows certain ASE calculators does not thereby allow any command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ase import Atoms

from nanoos_lab.core.errors import InputError, ParameterError
from nanoos_lab.core.parameters import validate
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import registry
from nanoos_lab.engines.ase.calculators import find, make
from nanoos_lab.engines.base import EnginePolicy

if TYPE_CHECKING:
    from pathlib import Path

VASP = "ase.calculators.vasp:Vasp"
ANY, VASP_ONLY = EnginePolicy(), EnginePolicy(calculators=(VASP,))


@pytest.mark.parametrize(
    "name",
    [
        "os:system",
        "subprocess:Popen",
        "builtins:exec",
        "os.path:os.system",
        "os:path.os.system",
        "ase.calculators.calculator:subprocess",
        "ase.calculators.calculator:Calculator.__init__",
        "nanoos_lab.core.errors:NanoosError",
        "../evil:Evil",
        "evil.py:Evil",
        "a b:C",
        "__main__:__builtins__",
        "os:system\n",
        ":Evil",
    ],
)
def test_what_is_no_calculator_is_refused(name: str) -> None:
    with pytest.raises(InputError):
        find(name, ANY)


@pytest.mark.parametrize("option", ["command", "profile"])
def test_an_allowed_calculator_takes_no_command(option: str, tmp_path: Path) -> None:
    engine = registry.get("ase")
    options = {option: f"touch {tmp_path / 'pwned'}"}
    given = validate(engine.tasks["static"], {"calculator": VASP, "calculator_options": options}, where="here")
    with pytest.raises(ParameterError, match="does not allow"):
        engine.check(Structure.encode(Atoms("H")), "static", given, VASP_ONLY)
    with pytest.raises(ParameterError, match="does not allow"):
        make(given, VASP_ONLY)
    assert list(tmp_path.iterdir()) == []
