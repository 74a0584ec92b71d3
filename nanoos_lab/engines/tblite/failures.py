"""How tblite fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanoos_lab.core.record import Correction
from nanoos_lab.core.status import Reason
from nanoos_lab.engines.signatures import Signature
from nanoos_lab.engines.tblite.parameters import ITERATIONS, MIXER_DAMPING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The mixer takes over no less of the new charges than this.
_LEAST_DAMPING = 0.05
#: More iterations than this do not help.
_MOST_ITERATIONS = 4000


def mix_less(parameters: Mapping[str, Any]) -> Correction | None:
    """Halve what the mixer takes over, and allow for the iterations that this costs."""
    damping = float(parameters.get("mixer_damping", MIXER_DAMPING))
    iterations = int(parameters.get("scf_iterations", ITERATIONS))
    less, more = damping / 2, max(2 * iterations, ITERATIONS)
    if less < _LEAST_DAMPING or more > _MOST_ITERATIONS:
        return None
    return Correction(
        changes={"mixer_damping": less, "scf_iterations": more},
        why=f"The charges swing: mixer_damping {damping:g} → {less:g}, scf_iterations {iterations} → {more}.",
    )


FAILURES = (
    Signature(
        name="scf",
        pattern=r"SCF not converged in \d+ cycles",
        reason=Reason.CONVERGENCE,
        meaning="The electrons did not become self-consistent",
        remedy="Check the geometry, charge and multiplicity; raise electronic_temperature or lower mixer_damping.",
        correct=mix_less,
    ),
    Signature(
        name="electrons",
        pattern=r"[Nn]umber (of )?unpaired electrons .* not compatible",
        reason=Reason.INPUT,
        meaning="There cannot be so many unpaired electrons",
        remedy="Check charge and multiplicity.",
    ),
)
