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
    step
        Its step; None if it belongs to no run.
    on_watched
        Told whether somebody sees the view and takes frames, whenever that changes.
    """

    _esm = joined("structure.js")
    _css = (STATIC / "structure.css").read_text(encoding="utf-8")
    nglview = traitlets.Unicode().tag(sync=True)
    height = traitlets.Int(HEIGHT).tag(sync=True)
    scene_data = traitlets.Any().tag(sync=True, to_json=_scene)

    def __init__(self, atoms: Atoms, step: int | None, on_watched: Callable[[bool], None]) -> None:
        self._on_watched = on_watched
        self._lock = threading.Lock()
        self._budget = Budget()
        self._due = False
        self._pages: frozenset[str] = frozenset()
        self._watched = False
        self.scene = _scene_of(atoms, step, version=1)
        self._view = _stock_view()
        super().__init__(nglview=self._view.model_id)
        answer_in_subshell(self.comm)
        answer_in_subshell(self._view.comm)
        self.on_msg(self._hear)

    def push(self, frame: Frame) -> bool:
        """Show a frame; if the page does not keep up it waits, until the page does or a newer one is there.

        Returns
        -------
        bool
            Whether it has as many atoms as are shown; if not it is left out, for it does not say which they are.
        """
        placement = Placement.of(frame.cell)
        with self._lock:
            if len(frame.positions) != len(self.scene.symbols):
                return False
            positions = placement.place(frame.positions)
            self.scene = self.scene._replace(step=frame.step, cell=placement.cell, positions=positions)
            self._due = True
        self._send_newest()
        return True

    def _send_newest(self) -> None:
        with self._lock:
            scene, now = self.scene, time.monotonic()
            size = scene.positions.nbytes
            exhausted = self._budget.exhausted(size)
            if self._due and self._budget.may_send_frame(size, now):
                self._due = False
                self._budget = self._budget.after_send(size, now)
                message = {"kind": "frame", "serial": self._budget.sent, "step": scene.step, "cell": scene.cell}
                self.send(message, buffers=[scene.positions.tobytes()])
        if exhausted:
            self._want(False)

    def show(self, atoms: Atoms, step: int | None) -> None:
        """Show a structure that comes from elsewhere, such as the final one of a run; it may have other atoms."""
        with self._lock:
            changed = atoms.get_chemical_symbols() != self.scene.symbols
            self.scene = _scene_of(atoms, step, version=self.scene.version + changed)
            self._due = False
        self.send_state("scene_data")

    def close(self) -> None:
        """Take the view from all pages and end what serves it."""
        for part in (self._view._iplayer, self._view._ibtn_fullscreen, self._view):
            part.layout.close()
            part.close()
        self.layout.close()
        super().close()

    def _hear(self, _widget: object, content: Mapping[str, Any], _buffers: object) -> None:
        """Take in what a page says: that it has drawn a frame, or whether somebody sees it."""
        with self._lock:
            serial = int(content.get("serial", self._budget.sent))
            self._budget = self._budget.after_ack(serial, time.monotonic())
            if content.get("order") == "watched":
                page = frozenset({str(content["page"])})
                self._pages = self._pages | page if content["watched"] else self._pages - page
        self._want(bool(self._pages))
        self._send_newest()

    def _want(self, watched: bool) -> None:
        if watched is not self._watched:
            self._watched = watched
            self._on_watched(watched)


def _scene_of(atoms: Atoms, step: int | None, *, version: int) -> Scene:
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
