"""Calculators that a user might bring, for tests of what the engine does with them."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes


class Springs(Calculator):
    """Every atom on a spring to the origin; energies and forces only."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    default_parameters = {"k": 1.0}  # noqa: RUF012

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        k = self.parameters["k"]
        self.results = {"energy": 0.5 * k * np.sum(atoms.positions**2), "forces": -k * atoms.positions}


class Bound(Springs):
    """Every atom in a trough ``k x⁴ / 4`` per coordinate around the mean of all; conserves the total momentum."""

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        Calculator.calculate(self, atoms, properties, system_changes)
        k, away = self.parameters["k"], atoms.positions - atoms.positions.mean(axis=0)
        slope = k * away**3
        self.results = {"energy": 0.25 * k * np.sum(away**4), "forces": slope.mean(axis=0) - slope}


class Charged(Springs):
    """Has charges too, and says that it has a stress, which it has not."""

    implemented_properties = ["energy", "forces", "charges", "stress"]  # noqa: RUF012

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results["charges"] = np.full(len(atoms), 0.5)

    def get_stress(self, atoms: Any = None) -> Any:
        raise PropertyNotImplementedError("no stress after all")


class Broken(Springs):
    """Fails after `after` calculations."""

    default_parameters = {"k": 1.0, "after": 0}  # noqa: RUF012
    calls = 0

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        self.calls += 1
        if self.calls > self.parameters["after"]:
            raise RuntimeError("SCF did not find its feet")
        super().calculate(atoms, properties, system_changes)


class Explodes(Springs):
    """Its energy is not a number."""

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] = float("nan")


class Lost(Springs):
    """Its energy and forces are no numbers any more after the first."""

    calls = 0

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        if self.calls:
            self.results = {name: value * np.nan for name, value in self.results.items()}
        self.calls += 1


class Picky(Springs):
    """Cannot be made."""

    def __init__(self, **options: Any) -> None:
        raise FileNotFoundError(f"no model at {options['model']}")


class NotACalculator:
    """Looks like one from afar."""


def a_function() -> None:
    """No class at all."""


class Slow(Springs):
    """Its second calculation lasts for ever: in Python, or as one that waits for a program of its own."""

    default_parameters = {"k": 1.0, "waits": False}  # noqa: RUF012
    calls = 0

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        self.calls += 1
        if self.calls > 1:
            Path("at_work").touch()
            try:
                if self.parameters["waits"]:
                    subprocess.run(["sleep", "600"], check=True)
                while True:
                    time.sleep(0.001)
            finally:
                Path("cut_off").touch()
        super().calculate(atoms, properties, system_changes)
