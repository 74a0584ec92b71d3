"""Parameters of CHGNet, and what it asks of a structure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from nanoos_lab.core.errors import StructureError
from nanoos_lab.core.parameters import field
from nanoos_lab.engines.ase.parameters import Calculated

if TYPE_CHECKING:
    from nanoos_lab.core.structures import Structure

#: The heaviest element that the model has an embedding for: plutonium.
HEAVIEST = 94


Weights = Literal["0.3.0", "0.2.0", "r2scan"]


class ChgnetParameters(Calculated):
    """Which weights."""

    model: Weights = field(
        doc="weights: 0.3.0 and 0.2.0 were trained on PBE(+U) of the Materials Project, r2scan on r²SCAN"
    )

    @property
    def label(self) -> str:
        """Name and weights."""
        return f"CHGNet {self.model}"


def check_structure(structure: Structure) -> None:
    """Raise a StructureError if the model cannot say anything of a structure."""
    if not all(structure.pbc):
        raise StructureError(
            f"CHGNet knows only what is periodic in all directions, and pbc is {list(structure.pbc)}; for a slab set "
            "pbc=True with enough vacuum"
        )
    from ase.data import chemical_symbols

    numbers = structure.arrays()["numbers"]
    unknown = sorted(set(numbers[(numbers > HEAVIEST) | (numbers < 1)].tolist()))
    if unknown:
        symbols = [chemical_symbols[number] if 0 < number < len(chemical_symbols) else "X" for number in unknown]
        raise StructureError(
            f"CHGNet knows hydrogen to plutonium, whatever its weights ({', '.join(get_args(Weights))}), and not "
            f"{', '.join(symbols)}; nanoos_lab.potentials({symbols}, engine=…) says what another engine has for them"
        )
