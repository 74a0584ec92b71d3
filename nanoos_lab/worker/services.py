"""What an attempt or a lab works with, opened from the settings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from nanoos_lab.broker import embedded, live
from nanoos_lab.broker.connection import connect
from nanoos_lab.broker.queue import JobQueue
from nanoos_lab.core.errors import BrokerError
from nanoos_lab.store.artifacts import Artifacts
from nanoos_lab.store.jobs import Store
from nanoos_lab.store.rehearsal import warm
from nanoos_lab.worker.settings import VARIABLES, Settings

if TYPE_CHECKING:
    from redis import Redis


@dataclass(frozen=True)
class Services:
    """Store, artifacts and broker of one lab; each is opened on first use."""

    #: The lab's settings.
    settings: Settings

    @cached_property
    def store(self) -> Store:
        """The truth."""
        return Store(self.settings.store_url, lease=self.settings.lease)

    @cached_property
    def artifacts(self) -> Artifacts:
        """What the jobs write."""
        return Artifacts(self.settings.artifacts)

    @cached_property
    def connection(self) -> Redis:
        """The broker's connection."""
        return connect(broker_url(self.settings))

    @cached_property
    def live(self) -> Redis:
        """The runs' own connection to the live channel, with little patience."""
        return live.writing(self.connection)

    @cached_property
    def queue(self) -> JobQueue:
        """Delivery."""
        return JobQueue(self.connection)

    def close(self) -> None:
        """Close what was opened."""
        opened = vars(self)
        if "store" in opened:
            self.store.close()
        for name in ("connection", "live"):
            if name in opened:
                getattr(self, name).close()


def of_environment() -> Services:
    """Return the services of the lab that the environment names; the same ones as long as it says the same."""
    return _of_environment(tuple(os.environ.get(name) for name in VARIABLES))


def prepare() -> None:
    """Make ready what every work-horse needs, before the fork; nothing stays connected.

    A fork pays for each page of memory that it touches first, so reading the environment and setting up clients costs
    it several times what it costs here.

    Raises
    ------
    ServiceError
        If the embedded server does not run.
    """
    services = of_environment()
    warm(services.settings.store_url)
    # Looked at, and so made.
    _ = services.store, services.artifacts, services.live


@lru_cache(maxsize=1)
def _of_environment(_values: tuple[str | None, ...]) -> Services:
    return Services(Settings.load())


def broker_url(settings: Settings) -> str:
    """Return the URL of the broker.

    Raises
    ------
    BrokerError
        If the embedded server does not run.
    """
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    server = embedded.find(settings.home, embedded.runtime_directory())
    if server is None:
        raise BrokerError("the embedded server does not run; `nanoos-lab up` starts it")
    return server.url
