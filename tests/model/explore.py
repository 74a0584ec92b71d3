"""Every state that the world can come to, and the first one in which something is wrong, with the way there."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from nanoos_lab.core.status import MOVES, Status
from tests.model.world import FAIR

if TYPE_CHECKING:
    from tests.model.world import Op, State, World

#: What a state is known by.
Face = tuple[Any, ...]


@dataclass
class Exploration:
    """What was found."""

    #: State → how it was first reached: from which, by what.
    reached: dict[Face, tuple[Face, Op] | None] = field(default_factory=dict)
    #: State → the states that lead to it by what happens by itself.
    fairly_before: dict[Face, set[Face]] = field(default_factory=dict)
    #: States in which the job has ended.
    ends: set[Face] = field(default_factory=set)
    transitions: int = 0
    #: What is wrong, if anything, and the operations that lead there.
    wrong: str = ""
    trace: tuple[str, ...] = ()


def explore(world: World) -> Exploration:
    """Go through all states, breadth first; stop at the first that is wrong."""
    found = Exploration()
    begin = world.begin()
    first = world.face(begin)
    found.reached[first] = None
    todo: deque[tuple[State, Face]] = deque([(begin, first)])
    while todo:
        state, face = todo.popleft()
        world.load(state)
        ended = world.record().status.finished
        if ended:
            found.ends.add(face)
        for op in world.possible(state):
            world.load(state)
            after = world.after(state, op)
            there = world.face(after)
            found.transitions += 1
            if op[0] in FAIR:
                found.fairly_before.setdefault(there, set()).add(face)
            if ended and there[0][:5] != face[0][:5]:
                return _told(found, face, op, "a job that had ended has changed")
            if there not in found.reached:
                if what := wrong(world, after):
                    return _told(found, face, op, what)
                found.reached[there] = (face, op)
                todo.append((after, there))
    return _stuck(found)


def wrong(world: World, state: State) -> str:
    """Say which invariant a state breaks; empty if none."""
    record, attempts = world.record(), world.attempts()
    if state.accepted > 1:
        return "the results of two attempts were accepted"
    if (state.accepted == 1) != (record.status is Status.SUCCEEDED):
        return "a job has succeeded without results, or has results and has not succeeded"
    if sum(worker.engine for worker in state.workers) > 1:
        return "two engines run side by side"
    if len({one.number for one in attempts}) != len(attempts) or any(one.number > record.attempt for one in attempts):
        return "an attempt is numbered twice, or ahead of its job"
    if any(one.outcome == Status.SUCCEEDED and one.number != record.attempt for one in attempts):
        return "the results of a stale attempt were accepted"
    if any(one.outcome is None for one in attempts if one.number < record.attempt):
        return "an attempt was left without an outcome"
    told = [Status(word) for word in world.statuses()]
    if any(after not in MOVES[old] for old, after in pairwise(told)) or told[-1] is not record.status:
        return f"the history tells of a move that is none: {' '.join(told)}"
    return ""


def _stuck(found: Exploration) -> Exploration:
    """See that what happens by itself leads from every state to an end."""
    safe, todo = set(found.ends), deque(found.ends)
    while todo:
        for face in found.fairly_before.get(todo.popleft(), ()):
            if face not in safe:
                safe.add(face)
                todo.append(face)
    for face in found.reached:
        if face not in safe:
            origin = found.reached[face]
            found.wrong = "the job can be stuck for ever"
            found.trace = _trace(found, face) if origin else ("submit",)
            return found
    return found


def _told(found: Exploration, face: Face, op: Op, what: str) -> Exploration:
    found.wrong = what
    found.trace = (*_trace(found, face), " ".join(map(str, op)))
    return found


def _trace(found: Exploration, face: Face) -> tuple[str, ...]:
    steps: list[str] = []
    while (origin := found.reached[face]) is not None:
        face, op = origin
        steps.insert(0, " ".join(map(str, op)))
    return ("submit", *steps)
