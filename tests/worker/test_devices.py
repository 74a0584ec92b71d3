"""Graphics processors are shared out among the jobs of a host, and are free again however a run ends."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING
from uuid import uuid4

import psutil
import pytest
from ase.build import bulk

from nanoos_lab.lab import local
from nanoos_lab.lab.draft import Draft
from nanoos_lab.lab.lab import Lab
from nanoos_lab.lab.prepare import prepare
from nanoos_lab.worker import devices, waiting
from nanoos_lab.worker.run import retire, run_job
from nanoos_lab.worker.services import of_environment
from nanoos_lab.worker.settings import Settings
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from nanoos_lab.lab.job import Job
    from nanoos_lab.worker.nursery import Nursery
    from nanoos_lab.worker.services import Services

#: Seconds that a job may take to be offered again, on a machine that is busy with other things.
PATIENCE = 120.0
#: Longer than any test: such a job ends when it is told to.
FOREVER = 3600.0


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[str, str]]:
    """Two devices that this machine need not have, and nobody else names."""
    names = (f"GPU-{uuid4()}", f"GPU-{uuid4()}")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(devices.VARIABLE, raising=False)
        patch.setenv("NANOOS_GPUS", ",".join(names))
        yield names
    for name in names:
        for file in devices.runtime_directory().glob(f"gpus*/device-{name}"):
            file.unlink()


@pytest.fixture(scope="module")
def lab_of_two(two: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with more workers than devices."""
    with Lab(Settings.load(home=tmp_path_factory.mktemp("lab"), concurrency=3)) as lab:
        yield lab
        local.stop(lab.settings, now=True)


def submitted(lab: Lab, **options: object) -> Job:
    """Submit a job that runs until it is told to end."""
    wanted = {"duration": FOREVER, "resources": {"gpus": 1}, "retries": 1, **options}
    return lab.submit(bulk("Cu"), engine="mock", task="md", steps=1000, **wanted)


def seen_by(job: Job) -> str:
    """Return what a running job sees of devices, as it says in its log."""
    word = "graphics processors: "
    until(lambda: word in job.log, what="a line of the log", seconds=PATIENCE)
    return job.log.partition(word)[2].splitlines()[0]


def waits(job: Job) -> bool:
    """Say whether a job was met by a worker that had no device for it."""
    return any(event.kind == waiting.EVENT for event in job.events)


def free(settings: Settings) -> list[str]:
    """Return the devices that nobody has."""
    with ExitStack() as held:
        found: list[str] = []
        while (one := held.enter_context(devices.taken(1, settings))) is not None:
            found += one.names
        return found


def holders(name: str, among: list[psutil.Process]) -> list[int]:
    """Return which of these processes hold a device."""
    return [one.pid for one in among if any(file.path.endswith(f"device-{name}") for file in one.open_files())]


def all_come_free(lab: Lab, names: tuple[str, ...]) -> None:
    """Wait until nobody has a device: a job has ended a moment before its work-horse lets go."""
    until(lambda: sorted(free(lab.settings)) == sorted(names), what="free devices", seconds=PATIENCE)


def end(*jobs: Job) -> None:
    for job in jobs:
        job.cancel()
    for job in jobs:
        until(lambda job=job: job.done(), what="the end of a job", seconds=PATIENCE)


def test_jobs_at_once_have_devices_of_their_own_and_one_too_many_waits(lab_of_two: Lab, two: tuple[str, str]) -> None:
    first, second = submitted(lab_of_two), submitted(lab_of_two)
    assert {seen_by(first), seen_by(second)} == set(two)
    third = submitted(lab_of_two)
    until(lambda: waits(third), what="a worker without a device for it", seconds=PATIENCE)
    # The worker is free for others meanwhile.
    other = lab_of_two.submit(bulk("Cu"), engine="mock", task="md", steps=10)
    assert other.wait(PATIENCE).status == "succeeded"
    assert third.status == "queued"
    end(first)
    assert seen_by(third) == seen_by(first)
    assert len(third.attempts) == 1
    end(second, third)
    all_come_free(lab_of_two, two)


@pytest.mark.parametrize("who", ["engine", "work-horse"])
def test_a_device_is_free_after_its_holder_was_killed(lab_of_two: Lab, two: tuple[str, str], who: str) -> None:
    job = submitted(lab_of_two)
    name = seen_by(job)
    assert free(lab_of_two.settings) == [other for other in two if other != name]
    horse = psutil.Process(job.attempts[0].pid)
    [engine] = holders(name, horse.children(recursive=True))
    os.kill(engine if who == "engine" else horse.pid, signal.SIGKILL)
    all_come_free(lab_of_two, two)
    until(job.done, what="the end of the job", seconds=PATIENCE)
    assert job.status == "failed"


@pytest.mark.parametrize("given", [0, 1, 2])
def test_an_engine_process_sees_what_it_was_given_and_holds_it_alone_in_the_end(
    nursery_of: Callable[..., Nursery], two: tuple[str, str], given: int
) -> None:
    def serve(connection: Connection) -> None:
        devices.receive(connection, two[:given])
        connection.send_bytes(os.environ.get(devices.VARIABLE, "as it was").encode())
        connection.recv_bytes()

    settings = Settings.load()
    engine = nursery_of(serve).engine()
    engine.pipe.send_bytes(b"go")
    with devices.taken(given, settings) as mine:
        assert mine is not None
        devices.hand_over(engine.pipe, mine)
    assert free(settings) == list(two[given:])
    assert engine.pipe.recv_bytes().decode() == (",".join(two[:given]) if given else "as it was")
    engine.kill()
    engine.join()
    assert free(settings) == list(two)


@pytest.fixture
def site(valkey_url: str, two: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """A server, a store and a directory, named by the environment as on a compute node."""
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'store.sqlite'}")
    monkeypatch.setenv("NANOOS_ARTIFACTS_URL", str(tmp_path / "artifacts"))
    services = of_environment()
    yield services
    retire()
    services.close()


def offered(site: Services, gpus: int) -> str:
    """Store a job; its first attempt waits for `run_job`."""
    options = {"steps": 10, "queue": "default", "resources": {"gpus": gpus}}
    submission = prepare(site, Draft(bulk("Cu"), engine="mock", task="md", **options))
    [record] = site.store.add([submission])
    return record.id


def test_a_job_without_a_device_is_left_as_it_was_and_offered_again_later(site: Services) -> None:
    # From here on this process is a work-horse: what it opens later its engine processes do not inherit.
    assert run_job(offered(site, 0), 1) == "succeeded"
    job = offered(site, 2)
    with devices.taken(1, site.settings):
        assert [run_job(job, 1), run_job(job, 1)] == ["waiting", "waiting"]
        # What was taken until it turned out to be too little is given back.
        assert len(free(site.settings)) == 1
    record = site.store.get(job)
    assert (str(record.status), record.attempt, site.store.attempts(job)) == ("queued", 1, [])
    assert site.store.undelivered() == []
    [told] = [event for event in site.store.events(job) if event.kind == waiting.EVENT]
    assert told.text.startswith("2 GPUs of 2 on ")
    assert run_job(job, 1) == "succeeded"
    assert len(free(site.settings)) == 2


def test_a_job_for_another_host_is_left_to_it(site: Services) -> None:
    job = offered(site, 3)
    assert run_job(job, 1) == "waiting"
    assert site.store.get(job).status == "queued"


def test_a_message_that_is_stale_stays_so_where_no_device_is_free(site: Services) -> None:
    job = offered(site, 3)
    site.store.cancel(job)
    assert [run_job(job, 1), run_job("0" * 32, 1)] == ["stale", "stale"]
    assert [event.kind for event in site.store.events(job) if event.kind == waiting.EVENT] == []


def test_many_that_wait_are_offered_less_often_the_longer_they_wait() -> None:
    pauses = [waiting._pause(waited) for waited in (0.0, 100.0, 1e6)]
    assert pauses == sorted(pauses)
    assert pauses[0] >= 0.8 * waiting.SHORTEST
    assert pauses[-1] <= 1.2 * waiting.LONGEST


# -- what a host has --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "names"),
    [("", ()), ("1", ("1",)), ("3, GPU-1a", ("3", "GPU-1a")), ("1,1", ("1",)), ("0,-1,1", ("0",)), ("NoDevFiles", ())],
)
def test_what_a_worker_was_given_by_the_variable_has_the_last_word(
    given: str, names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(devices.VARIABLE, given)
    assert devices.visible(Settings.load(gpus=("7", "8"))) == names


@pytest.mark.parametrize(("given", "names"), [("0,1", ("0", "1")), ("", ()), (" 2 ,, 2", ("2",))])
def test_the_setting_goes_before_what_shows_and_reaches_other_processes(
    given: str, names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(devices.VARIABLE, raising=False)
    monkeypatch.setenv("NANOOS_GPUS", given)
    (tmp_path / "nvidia0").touch()
    settings = Settings.load()
    assert devices.visible(settings, nvidia=tmp_path) == names
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings.load().gpus == names


def test_devices_are_counted_where_the_system_shows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(devices.VARIABLE, raising=False)
    monkeypatch.delenv("NANOOS_GPUS", raising=False)
    settings = Settings.load()
    nvidia, amd = tmp_path / "dev", tmp_path / "nodes"
    assert devices.visible(settings, nvidia, amd) == ()
    # A processor is a node of its own, and no device.
    for node, number in enumerate(("0", "57213", "57214")):
        (amd / str(node)).mkdir(parents=True)
        (amd / str(node) / "gpu_id").write_text(f"{number}\n")
    assert devices.visible(settings, nvidia, amd) == ("0", "1")
    nvidia.mkdir()
    for name in ("nvidiactl", "nvidia-uvm", "nvidia-modeset", "nvidia-caps", "nvidia3"):
        (nvidia / name).touch()
    assert devices.visible(settings, nvidia, amd) == ("0",)


def test_devices_of_another_step_of_slurm_are_others_of_the_same_name(
    two: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.load()
    monkeypatch.setattr(devices, "runtime_directory", lambda: tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.delenv("SLURM_STEP_ID", raising=False)
    with devices.taken(2, settings) as first:
        monkeypatch.setenv("SLURM_STEP_ID", "0")
        assert free(settings) == list(two)
    assert first is not None
    assert first.names == two
