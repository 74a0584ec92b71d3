"""CHGNet's model and calculator; importing this takes seconds."""

from __future__ import annotations

import io
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
    return CHGNetCalculator(model=model(name, device), use_device=device, on_isolated_atoms="error")
