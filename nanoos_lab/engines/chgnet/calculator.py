"""CHGNet's model and calculator; importing this takes seconds."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout
from functools import cache
from typing import TYPE_CHECKING

import torch
from chgnet.model.dynamics import CHGNetCalculator
from chgnet.model.model import CHGNet

if TYPE_CHECKING:
    from nanoos_lab.core.resources import Resources


@cache
def model(name: str, device: str) -> CHGNet:
    """Load the weights, once in a process."""
    with redirect_stdout(io.StringIO()):
        return CHGNet.load(model_name=name, use_device=device, verbose=False)


def make(name: str, resources: Resources) -> CHGNetCalculator:
    """Return a calculator on as many threads, or the graphics processor, that the job may use."""
    torch.set_num_threads(resources.threads)
    device = "cuda" if resources.gpus else "cpu"
    if resources.gpus:
        _sum_in_order()
    return CHGNetCalculator(model=model(name, device), use_device=device, on_isolated_atoms="error")


def _sum_in_order() -> None:
    """Have the graphics processor give the same bits each time, so that a resumed run is the uninterrupted one.

    Left alone it adds up what neighbours say in the order in which they happen to come. In order, the model takes 1.3
    to 2 times as long, but most of a step goes into the neighbours, which the processor finds.
    """
    # Read when the device is first used.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
