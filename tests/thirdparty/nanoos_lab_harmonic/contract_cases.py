"""What nanoos_lab's contract suite needs to know of the engine; no part of the package that is installed.

In a clone of nanoos_lab, where this file can be imported and the package is installed::

    NANOOS_CONTRACT_CASES=contract_cases pytest tests/engines/test_contract.py
"""

from ase.build import bulk

from tests.engines.contract import Case

MOTION = {"steps": 7, "every": 3, "timestep": 1.0, "temperature": 300}

CASES = (
    Case(
        engine="harmonic",
        atoms=lambda: bulk("Cu", cubic=True),
        tasks={"static": {}, "md": MOTION},
        long={"md": {**MOTION, "steps": 10**8}},
        bad=("static", {"spring": -1}, "spring"),
        # Steps so long that the atoms leave their springs behind.
        failing=("md", {**MOTION, "steps": 10**4, "timestep": 100, "spring": 1000}),
        hide=None,
        at_rest=True,
    ),
)
