"""The structure under a job card: a stock nglview view, fed with frames by static/structure.js.

The only importer of nglview. Its own ways to load a structure and to move atoms wait for the kernel's main thread and
cannot change atoms or cell, so here the page does both, and the kernel only sends arrays.
"""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import anywidget
import traitlets

from nanoos_lab.widgets.budget import Budget
from nanoos_lab.widgets.comms import answer_in_subshell
from nanoos_lab.widgets.geometry import Placement
from nanoos_lab.widgets.modules import STATIC, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from ase import Atoms
    from numpy.typing import NDArray

    from nanoos_lab.core.frames import Frame

#: Height of the view in CSS pixels.
HEIGHT = 320


class Scene(NamedTuple):
    """What the view shows."""

    #: Counts changes of the atoms themselves; the view is rebuilt for each.
    version: int
    #: Chemical symbols, one per atom.
    symbols: list[str]
    #: How it is drawn.
    style: str
    #: Step of the frame; None for a structure that belongs to no run.
    step: int | None
    #: Unit cell as `Placement.cell`.
    cell: tuple[float, ...] | None
    #: Positions in the drawn frame, in Å, shape (atoms, 3).
    positions: NDArray[np.float32]


def style_of(atoms: Atoms) -> str:
    """Choose how to draw: bonds for molecules, spheres for materials, points for very many atoms."""
    if len(atoms) > 50_000:
        return "point"
    return "ball+stick" if not atoms.pbc.any() and len(atoms) <= 2_000 else "spacefill"


def _scene(_value: object, view: StructureView) -> dict[str, Any]:
    scene = view.scene
    return {**scene._asdict(), "positions": scene.positions.tobytes()}


class StructureView(anywidget.AnyWidget):
    """A live structure.

    Parameters
    ----------
    atoms
        What to show first.
    on_watched
        Told whether somebody sees the view and takes frames, whenever that changes.
    """

    _esm = joined("structure.js")
    _css = (STATIC / "structure.css").read_text(encoding="utf-8")
    nglview = traitlets.Unicode().tag(sync=True)
    height = traitlets.Int(HEIGHT).tag(sync=True)
    scene_data = traitlets.Any().tag(sync=True, to_json=_scene)

    def __init__(self, atoms: Atoms, on_watched: Callable[[bool], None]) -> None:
        self._on_watched = on_watched
        self._lock = threading.Lock()
        self._budget = Budget()
        self.scene = _scene_of(atoms, version=1)
        self._view = _stock_view()
        super().__init__(nglview=self._view.model_id)
        answer_in_subshell(self.comm)
        answer_in_subshell(self._view.comm)
        self.on_msg(self._hear)

    def push(self, frame: Frame) -> None:
        """Show a frame, if the page keeps up; one that it could not take is dropped, the next is newer."""
        placement = Placement.of(frame.cell)
        with self._lock:
            if len(frame.positions) != len(self.scene.symbols):
                return
            positions = placement.place(frame.positions)
            self.scene = self.scene._replace(step=frame.step, cell=placement.cell, positions=positions)
            now = time.monotonic()
            if not self._budget.may_send_frame(positions.nbytes, now):
                return
            self._budget = self._budget.after_send(positions.nbytes, now)
            serial = self._budget.sent
        message = {"kind": "frame", "serial": serial, "step": frame.step, "cell": placement.cell}
        self.send(message, buffers=[positions.tobytes()])

    def show(self, atoms: Atoms, *, step: int | None = None) -> None:
        """Show another structure: other atoms, or the final one of a run."""
        with self._lock:
            self.scene = _scene_of(atoms, version=self.scene.version + 1, step=step)
        self.send_state("scene_data")

    def close(self) -> None:
        """Take the view from all pages and end what serves it."""
        for part in (self._view._iplayer, self._view._ibtn_fullscreen, self._view):
            part.layout.close()
            part.close()
        self.layout.close()
        super().close()

    def _hear(self, _widget: object, content: Mapping[str, Any], _buffers: object) -> None:
        if content.get("order") == "seen":
            with self._lock:
                self._budget = self._budget.after_ack(int(content["serial"]), time.monotonic())
        elif content.get("order") == "watched":
            self._on_watched(bool(content["watched"]))


def _scene_of(atoms: Atoms, *, version: int, step: int | None = None) -> Scene:
    placement = Placement.of(atoms.cell.array)
    return Scene(
        version=version,
        symbols=atoms.get_chemical_symbols(),
        style=style_of(atoms),
        step=step,
        cell=placement.cell,
        positions=placement.place(atoms.positions),
    )


def _stock_view() -> Any:
    import ipywidgets
    import nglview

    class QuietView(nglview.NGLWidget):  # type: ignore[misc]
        """A stock view without nglview's four endless threads and its player: the page does their work."""

        def _initialize_threads(self) -> None:
            self._remote_call_thread = SimpleNamespace(q=[])

        def _create_player(self) -> None:
            self._iplayer = ipywidgets.HBox()

    return QuietView(height=f"{HEIGHT}px")
