"""Find, check and make ASE calculators by name."""

from __future__ import annotations

import inspect
import re
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

from ase.calculators.calculator import BaseCalculator
from ase.calculators.emt import EMT
from ase.calculators.emt import parameters as emt_parameters

from nanoos_lab.core.errors import (
    EngineError,
    NanoosError,
    ParameterError,
    StructureError,
    UnknownNameError,
)
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.ase.cancelling import calculation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from nanoos_lab.core.structures import Structure
    from nanoos_lab.engines.ase.parameters import CalculatorParameters
    from nanoos_lab.engines.base import EnginePolicy

#: Short names of calculators that every lab allows.
SHORT_NAMES = {"emt": "ase.calculators.emt:EMT", "lj": "ase.calculators.lj:LennardJones"}

#: Elements whose EMT parameters ASE calls "not for any serious use".
TOYS = frozenset({"C", "H", "N", "O"})

#: Options with which many of ASE's calculators are told what to run.
_COMMANDS = frozenset({"command", "profile"})


def find(name: str, policy: EnginePolicy) -> type[BaseCalculator]:
    """Import the class of a calculator, without making one.

    Parameters
    ----------
    name
        "emt", "lj", or "module:Class".
    policy
        What the lab allows; asked before anything is imported.

    Raises
    ------
    UnknownNameError
        If there is no such name; carries the nearest one.
    ParameterError
        If the lab does not allow it, its module cannot be imported, or it is no calculator of ASE.
    """
    path = SHORT_NAMES.get(name, name)
    if not re.fullmatch(r"[\w.]+:\w+", path):
        raise UnknownNameError("calculator", name, [*SHORT_NAMES, "module:Class"])
    if name not in SHORT_NAMES and policy.calculators is not None and name not in policy.calculators:
        listed = ", ".join(repr(allowed) for allowed in (*SHORT_NAMES, *policy.calculators))
        raise ParameterError("calculator", name, f"this lab allows {listed}")
    module_name, _, class_name = path.partition(":")
    module = _import(name, module_name)
    found = getattr(module, class_name, None)
    if found is None:
        raise UnknownNameError(f"calculator in module {module_name!r}", class_name, _calculators_of(module))
    if not (inspect.isclass(found) and issubclass(found, BaseCalculator)):
        raise ParameterError("calculator", name, "it must be a subclass of ase.calculators.calculator.BaseCalculator")
    return found


def check_options(given: CalculatorParameters, policy: EnginePolicy) -> None:
    """Raise a ParameterError for options that run a program, in a lab that allows certain calculators only."""
    wanted = _COMMANDS & given.options.keys()
    if policy.calculators is not None and wanted:
        reason = f"this lab does not allow {', '.join(sorted(wanted))}"
        raise ParameterError("calculator_options", given.calculator_options, reason)


def _import(name: str, module: str) -> ModuleType:
    try:
        return import_module(module)
    except Exception as error:
        reason = f"its module cannot be imported here ({type(error).__name__}: {error})"
        raise ParameterError("calculator", name, reason) from error


def _calculators_of(module: ModuleType) -> list[str]:
    classes = inspect.getmembers(module, inspect.isclass)
    return [name for name, found in classes if issubclass(found, BaseCalculator)]


def check_elements(calculator: type[BaseCalculator], structure: Structure) -> None:
    """Raise a StructureError if the calculator is EMT and an element of the structure has no parameters."""
    missing = sorted(structure.elements - emt_parameters.keys())
    if issubclass(calculator, EMT) and missing:
        raise StructureError(
            f"EMT has no parameters for {', '.join(missing)}; it has them for {', '.join(emt_parameters)}"
        )


def warning(calculator: BaseCalculator, structure: Structure) -> str:
    """Return what a reader of the results should know of the calculator; mostly nothing."""
    toys = sorted(structure.elements & TOYS) if isinstance(calculator, EMT) else []
    return f"ASE's EMT parameters of {', '.join(toys)} are not for any serious use" if toys else ""


def make(given: CalculatorParameters, policy: EnginePolicy) -> BaseCalculator:
    """Make the calculator of a task.

    Raises
    ------
    InputError
        As `find` does.
    EngineError
        If its class does not take the options.
    """
    calculator = find(given.calculator, policy)
    check_options(given, policy)
    try:
        return calculator(**given.options)
    except Exception as error:
        raise EngineError(
            f"calculator {given.calculator!r} cannot be made: {type(error).__name__}: {error}",
            reason=Reason.INPUT,
            remedy=f"Check calculator_options={given.calculator_options!r}.",
        ) from error


@contextmanager
def calculating(name: str) -> Iterator[None]:
    """Turn whatever a calculator raises into an EngineError with its own words; a cancel may cut it off."""
    try:
        with calculation():
            yield
    except (NanoosError, MemoryError):
        raise
    except Exception as error:
        raise EngineError(
            f"calculator {name!r} failed: {type(error).__name__}: {error}",
            reason=Reason.ENGINE,
            remedy="Look at the last frame of the trajectory and at the calculator's own output (job.log).",
        ) from error
