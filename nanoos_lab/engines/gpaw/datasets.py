"""The PAW data sets that are installed here, found without loading GPAW.

GPAW looks into the folders of its package, of a variable, and of those that the user's ``~/.gpaw/rc.py`` names, which
is a program: where there is one nobody knows before.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from nanoos_lab.core.errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Collection

_PATH, _PACKAGE = "GPAW_SETUP_PATH", "gpaw_data"


def folders() -> list[Path]:
    """Return the folders that have data sets: those of the variable, then that of GPAW's package."""
    named = [Path(word) for word in os.environ.get(_PATH, "").split(os.pathsep) if word]
    package = find_spec(_PACKAGE)
    places = package.submodule_search_locations if package is not None else None
    return [path for path in (*named, *(Path(place) / "setups" for place in places or ())) if path.is_dir()]


def check(elements: Collection[str]) -> None:
    """Raise if there are data sets, and surely none for one of the elements, whatever the functional.

    Raises
    ------
    StructureError
        Names the elements, and where data sets were looked for.
    """
    if Path("~/.gpaw/rc.py").expanduser().exists():
        return
    found = folders()
    missing = [symbol for symbol in sorted(elements) if not any(any(path.glob(f"{symbol}.*")) for path in found)]
    if found and missing:
        raise StructureError(
            f"GPAW has no PAW data set for {', '.join(missing)} in {', '.join(map(str, found))}; {_PATH} names folders "
            "with others"
        )
