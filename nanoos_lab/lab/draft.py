"""A job that is not submitted yet."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from nanoos_lab.core.structures import Structure
from nanoos_lab.lab.job import Job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ase import Atoms


@dataclass(frozen=True, eq=False, init=False)
class Draft:
    """What `Lab.submit` takes, to be submitted together with others by `Lab.submit_many`.

    Parameters
    ----------
    structure
        What to simulate; it is copied, so later changes do not matter. Or a job or another draft, whose final
        structure is meant.
    engine, task
        What runs it, and the kind of calculation.
    **options
        What else `Lab.submit` takes; `after` may name drafts too.

    Raises
    ------
    StructureError
        If no engine could run the structure. All else is checked when the draft is submitted.

    Examples
    --------
    >>> relax = Draft(atoms, engine="ase", task="relax", calculator="emt")  # doctest: +SKIP
    >>> heat = Draft(relax, engine="ase", task="md", calculator="emt", steps=1000, temperature=300)  # doctest: +SKIP
    >>> lab.submit_many([relax, heat, heat.but(temperature=600)])  # doctest: +SKIP
    """

    #: What to simulate.
    structure: Structure | Job | Draft | None
    #: Name of the engine.
    engine: str
    #: Kind of calculation.
    task: str
    #: What else was given, by name.
    options: Mapping[str, Any]

    def __init__(
        self, structure: Atoms | Structure | Job | Draft | None, *, engine: str, task: str, **options: Any
    ) -> None:
        if structure is not None and not isinstance(structure, (Structure, Job, Draft)):
            structure = Structure.encode(structure)
        object.__setattr__(self, "structure", structure)
        object.__setattr__(self, "engine", engine)
        object.__setattr__(self, "task", task)
        object.__setattr__(self, "options", MappingProxyType(dict(options)))

    def but(self, **changes: Any) -> Self:
        """Return a draft that differs in what is given; an equal structure is not checked again."""
        own = {"structure": self.structure, "engine": self.engine, "task": self.task}
        return type(self)(**{**own, **self.options, **changes})
