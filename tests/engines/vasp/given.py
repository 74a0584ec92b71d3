"""What a user gives to engine ``vasp``, as it is taken at submit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanoos_lab.core.parameters import validate
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import registry
from nanoos_lab.engines.base import EnginePolicy

if TYPE_CHECKING:
    from ase import Atoms


def parameters(task: str, **values: Any) -> Any:
    return validate(registry.get("vasp").tasks[task], {"xc": "PBE", "setups": "recommended", **values}, where="test")


def check(atoms: Atoms, task: str = "static", **values: Any) -> None:
    engine = registry.get("vasp")
    assert engine.check(Structure.encode(atoms), task, parameters(task, **values), EnginePolicy()).keys() == {
        "potentials"
    }
