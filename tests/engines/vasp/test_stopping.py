"""How runs of VASP are stopped, and what they leave to go on from; a replay stands in for VASP."""

from __future__ import annotations

import os
import threading
import time
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nanoos_lab.core.parameters import validate
from nanoos_lab.engines import registry
from nanoos_lab.engines.vasp import poscar
from nanoos_lab.engines.vasp.poscar import Order
from nanoos_lab.engines.vasp.watch import Watch
from nanoos_lab.store.checkpoints import find
from tests.engines.context import RecordingContext
from tests.engines.vasp.running import alive, atoms_of, read_diary, run
from tests.engines.vasp.synthetic import Run
from tests.waiting import quickest

if TYPE_CHECKING:
    from pathlib import Path


def long_run(tmp_path: Path, **values) -> Path:
    return Run(steps=400, seconds=0.05, **values).write(tmp_path / "recording")


@pytest.mark.parametrize("deaf", [False, True], ids=["obeys STOPCAR", "has to be killed"])
def test_a_cancel_takes_less_than_two_seconds(replay, tmp_path, deaf) -> None:
    replay(long_run(tmp_path), speed=1, deaf=deaf)
    tries = count()

    def seconds() -> float:
        context = RecordingContext(workdir=tmp_path / f"try{next(tries)}")
        context.workdir.mkdir()
        asked: list[float] = []

        def cancel() -> None:
            context.begun.wait(60)
            asked.append(time.monotonic())
            context.ask_to_stop()

        thread = threading.Thread(target=cancel)
        thread.start()
        results = run(context, atoms_of(Run()), "relax")
        ended = time.monotonic()
        thread.join()
        assert results.stopped
        assert not alive(context.workdir)
        assert not {"POTCAR", "STOPCAR", "WAVECAR"} & set(os.listdir(context.workdir))
        assert context.checkpoint_made == []
        return ended - asked[0]

    assert quickest(seconds, limit=2.0) < 2.0


def test_a_soft_stop_finishes_the_step_and_the_next_attempt_goes_on(context, replay, tmp_path) -> None:
    recorded = long_run(tmp_path)
    diary = replay(recorded, speed=20)
    context.checkpoint_interval = 60.0
    context.stop_reason, context.stop_at_step = "time_limit", 3
    results = run(context, atoms_of(Run()), "relax", steps=50)
    assert results.stopped
    last = context.steps[-1]
    assert last >= 3
    made = Run()
    # VASP has left the structure of the next step.
    assert context.checkpoint_made == [last + 1]
    checkpoints = find([context.place]).checkpoints
    assert sorted(path.name for path in checkpoints[0].directory.iterdir()) == [
        "CONTCAR",
        "WAVECAR",
        "checkpoint.json",
        "scaled.npy",
    ]
    work = tmp_path / "second"
    work.mkdir()
    second = RecordingContext(workdir=work, checkpoint_interval=60.0, checkpoints=checkpoints)
    replay(Run(steps=2, accurate=True).write(tmp_path / "other"))
    run(second, atoms_of(made), "relax", steps=50)
    entry = read_diary(diary)[1]
    assert "WAVECAR" in entry["there"]
    assert f"NSW = {50 - last}" in entry["INCAR"]
    assert second.head.first == last + 1
    assert second.steps == [last + 1, last + 2]
    placed = np.array([[float(word) for word in line.split()] for line in entry["POSCAR"].splitlines()[8:10]])
    np.testing.assert_allclose(placed @ made.cell, made.positions(last + 1), atol=1e-9)


def test_a_soft_stop_does_not_wait_for_a_slow_step(context, replay, tmp_path) -> None:
    """Steps of 200 s, of 240 s that there are."""
    made = Run(steps=40, seconds=50.0)
    replay(made.write(tmp_path / "recording"), speed=500)
    context.checkpoint_interval = 60.0
    context.stop_reason, context.stop_at_step = "time_limit", 2
    results = run(context, atoms_of(made), "relax", steps=50)
    assert results.stopped
    assert "hard stop was set" in (context.workdir / "OUTCAR").read_text()
    # What VASP has printed of the step after that does not count.
    last = context.steps[-1]
    assert results.properties["free_energy"] == made.free_energy(last)
    assert context.checkpoint_made == [last + 1]
    checkpoint = find([context.place]).checkpoints[0]
    there = poscar.read((checkpoint.directory / "CONTCAR").read_text(), Order.of(["Si", "Si"]))
    np.testing.assert_allclose(there.scaled @ there.cell, made.positions(last + 1), atol=1e-9)


def test_wave_functions_of_a_killed_program_are_not_kept(context, replay, tmp_path, monkeypatch) -> None:
    context.grace = 0.25
    replay(long_run(tmp_path), speed=20, deaf=True)
    context.checkpoint_interval = 60.0
    context.stop_reason, context.stop_at_step = "time_limit", 3
    assert run(context, atoms_of(Run()), "relax", steps=50).stopped
    (checkpoint,) = find([context.place]).checkpoints
    assert sorted(path.name for path in checkpoint.directory.iterdir()) == ["CONTCAR", "checkpoint.json", "scaled.npy"]


def test_checkpoints_fall_on_the_steps_that_were_asked_for(context, replay, tmp_path, monkeypatch) -> None:
    replay(Run(steps=9, md=True).write(tmp_path / "recording"), speed=1)
    seen = tmp_path / "seen"
    seen.touch()
    monkeypatch.setenv("VASP_REPLAY_FOLLOWED", str(seen))
    monkeypatch.setattr(context, "progress", lambda step: seen.write_text(seen.read_text() + f"{step}\n"))
    context.checkpoint_interval, context.checkpoint_steps = 60.0, 4
    run(context, atoms_of(Run()), "md", steps=8)
    # Each holds the structure after the step, or of it if the next was not there yet, or of a later one if VASP was
    # faster than we looked; none is left out.
    first, second = context.checkpoint_made
    assert 4 <= first < 8
    assert second in (8, 9)


def test_a_checkpoint_is_of_the_step_whose_structure_it_holds(context) -> None:
    """Several steps have come between two looks, so that the CONTCAR is not of the one on which a checkpoint fell."""
    made = Run(steps=10, md=True, closing=False)
    atoms, order = atoms_of(made), Order.of(["Si", "Si"])
    given = validate(registry.get("vasp").tasks["md"], {"xc": "PBE", "steps": 20}, where="test")
    context.checkpoint_interval, context.checkpoint_steps = 60.0, 4
    watch = Watch(atoms, order, given, context, first=0)
    watch.begin()
    (context.workdir / "OUTCAR").write_text(made.outcar())
    atoms.positions[:] = made.positions(10)
    (context.workdir / "CONTCAR").write_text(poscar.write(atoms, order, velocities=True))
    watch.look()
    assert context.steps == list(range(10))
    assert context.checkpoint_made == [10]


def test_half_a_contcar_of_a_killed_program_costs_no_checkpoint(context) -> None:
    made = Run(steps=5, closing=False)
    atoms, order = atoms_of(made), Order.of(["Si", "Si"])
    given = validate(registry.get("vasp").tasks["relax"], {"xc": "PBE"}, where="test")
    context.checkpoint_interval = 60.0
    watch = Watch(atoms, order, given, context, first=0)
    watch.begin()
    (context.workdir / "OUTCAR").write_text(made.outcar())
    atoms.positions[:] = made.positions(5)
    contcar = poscar.write(atoms, order)
    (context.workdir / "CONTCAR").write_text(contcar)
    watch.hold()
    (context.workdir / "CONTCAR").write_text(contcar[: len(contcar) // 2])
    watch.save()
    (checkpoint,) = find([context.place]).checkpoints
    assert checkpoint.step == 5
    assert (checkpoint.directory / "CONTCAR").read_text() == contcar


def test_a_stale_stop_file_stops_nothing(context, replay, tmp_path) -> None:
    (context.workdir / "STOPCAR").write_text("LABORT = .TRUE.\n")
    made = Run(steps=2, accurate=True)
    replay(made.write(tmp_path / "recording"))
    results = run(context, atoms_of(made), "relax")
    assert not results.stopped
    assert context.steps == [0, 1]


def test_a_static_run_stops_within_its_scf_cycle(context, replay, tmp_path) -> None:
    replay(Run(steps=1, iterations=400).write(tmp_path / "recording"), speed=1)
    context.stop_reason = "shutdown"
    context.watched, context.stop_after_live = True, 3
    results = run(context, atoms_of(Run()), "static")
    assert results.stopped
    assert results.structure is None
    assert len(context.live_samples) < 20
