"""The real servers that tests run against; each starts when a test first asks for it."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# As in workers. Threads of linear algebra that wait for each other on a busy machine make small matrices take ten times
# as long; it must be known before numpy is loaded, and the processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says how busy the machine is.
settings.register_profile("nanoos", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nanoos")

pytest_plugins = [f"tests.fixtures.{name}" for name in ("postgres", "redis", "lab", "browser", "slurm")]
