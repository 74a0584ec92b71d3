"""How GPAW fails."""

from __future__ import annotations

from nanoos_lab.core.status import Reason
from nanoos_lab.engines.signatures import Signature, ladder

FAILURES = (
    Signature(
        name="scf",
        pattern=r"KohnShamConvergenceError",
        reason=Reason.CONVERGENCE,
        meaning="The electrons did not become self-consistent",
        remedy="Check the geometry and the charge; raise smearing or scf_iterations, or lower mixing.",
        correct=ladder(
            "mixing", (0.05, 0.02), "The density swings: mixing from {before} to {after}.", default="GPAW's own choice"
        ),
    ),
    Signature(
        name="setups",
        pattern=r"(?i:could not find required PAW dataset)",
        reason=Reason.RESOURCE,
        meaning="There is no PAW data set for an element on this host",
        remedy="Install GPAW's data sets: pip install gpaw-data, or set GPAW_SETUP_PATH.",
    ),
)
