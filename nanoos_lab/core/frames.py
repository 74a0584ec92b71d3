"""What a run produces: frames, rows of thermo, results."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nanoos_lab.core.structures import Structure
    from nanoos_lab.core.units import Column


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """Positions and cell at one step."""

    #: Step, from 0.
    step: int
    #: Simulated time in fs.
    time: float
    #: Positions in Å, shape (atoms, 3), in the order of the structure.
    positions: np.ndarray[Any, Any]
    #: Cell vectors as rows, in Å, shape (3, 3).
    cell: np.ndarray[Any, Any]
    #: Velocities in Å/fs, shape (atoms, 3), if the engine has them.
    velocities: np.ndarray[Any, Any] | None = None

    def pack(self) -> bytes:
        """Return the frame for a viewer: a JSON head line, then the positions as little-endian float32."""
        head = {"step": self.step, "time": self.time, "cell": np.asarray(self.cell).tolist()}
        return json.dumps(head).encode() + b"\n" + np.ascontiguousarray(self.positions, dtype="<f4").tobytes()

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Read what `pack` wrote; positions in single precision, no velocities.

        Raises
        ------
        ValueError
            If it is no such frame.
        """
        end = data.index(b"\n")
        try:
            values = json.loads(data[:end])
            return cls(
                step=int(values["step"]),
                time=float(values["time"]),
                cell=np.array(values["cell"], dtype=float).reshape(3, 3),
                positions=np.frombuffer(data, dtype="<f4", offset=end + 1).reshape(-1, 3),
            )
        except (TypeError, KeyError, OverflowError, RecursionError) as error:
            raise ValueError("not a packed frame") from error


@dataclass(frozen=True, kw_only=True, eq=False)
class RunHead:
    """What stays the same in a run: told once, before its first sample."""

    #: Steps in all; None if nobody knows.
    total: int | None
    #: Columns of the thermo rows after `step`, in order.
    columns: tuple[Column, ...]
    #: Atomic numbers, shape (atoms,).
    numbers: np.ndarray[Any, Any]
    #: Periodicity along the three cell vectors.
    pbc: tuple[bool, bool, bool]
    #: Masses in u, shape (atoms,); None: the standard ones of the elements.
    masses: np.ndarray[Any, Any] | None = None
    #: The step at which this attempt begins: 0, or that of the checkpoint from which it goes on.
    first: int = 0


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What an attempt has left behind so that another one can go on from its step."""

    #: The step, counted as in the whole job.
    step: int
    #: Where the engine's files are; only to be read.
    directory: Path
    #: What the engine noted besides: plain JSON values.
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """A row of thermo and, as a rule, the frame at the same step."""

    #: Step, from 0.
    step: int
    #: Values of the columns of the run's head, in order; none at all where only the frame is shown.
    row: tuple[float, ...]
    #: The frame at this step.
    frame: Frame | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """What an engine returns at the end of its run."""

    #: Properties by ASE's names, in ASE's units: numbers, texts, or arrays.
    properties: Mapping[str, Any]
    #: The final structure.
    structure: Structure | None
    #: Engine version, program, command, seeds: what made the result.
    provenance: Mapping[str, Any] = field(default_factory=dict)
    #: Whether the run was stopped before its last step because the context asked for it.
    stopped: bool = False
    #: Units of properties that are not among ours, by name.
    units: Mapping[str, str] = field(default_factory=dict)
