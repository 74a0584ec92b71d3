"""Long walks through a larger world than can be explored whole, biased towards workers that come back from the dead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.model import world
from tests.model.explore import wrong
from tests.model.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from tests.model.world import Op, State

#: Steps of a walk.
LENGTH = 60
#: How much likelier what a worker does is, whose lease is over, than anything else.
BIAS = 6


def weighted(state: State, ops: list[Op]) -> list[Op]:
    """Repeat what zombies do."""
    zombies = {place for place, worker in enumerate(state.workers) if not worker.engine}
    words = ("beat", "succeed", "fail", "lack", "correct")
    of_zombies = [op for op in ops if len(op) == 2 and op[0] in words and op[1] in zombies]
    return ops + BIAS * of_zombies


@pytest.fixture
def larger(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ATTEMPTS": 5, "MESSAGES": 4, "WORKERS": 4, "PAUSES": 3, "CORRECTIONS": 3}.items():
        monkeypatch.setattr(world, name, value)


@settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_no_walk_breaks_an_invariant(tmp_path: Path, larger: None, data: st.DataObject) -> None:
    with World.opened(tmp_path / "soak.sqlite") as place:
        state = place.begin()
        trace: list[Any] = []
        ended: Any = None
        for _ in range(LENGTH):
            op = data.draw(st.sampled_from(weighted(state, place.possible(state))))
            trace.append(op)
            state = place.after(state, op)
            face = place.face(state)
            assert (wrong(place, state), ended in (None, face[0][:5])) == ("", True), trace
            ended = face[0][:5] if place.record().status.finished else None
