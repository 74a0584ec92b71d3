"""How CHGNet's calculator is made in a script: as `calculator.make` does. Pure text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nanoos_lab.engines.ase.recipe import Written, called

if TYPE_CHECKING:
    from nanoos_lab.core.resources import Resources


def written(model: str, resources: Resources) -> Written:
    """Return how a calculator with these weights is made for the threads, or the graphics processor, of a job."""
    device = "cuda" if resources.gpus else "cpu"
    before = [f"torch.set_num_threads({resources.threads})"]
    if resources.gpus:
        before += [
            'os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")',
            "torch.use_deterministic_algorithms(True, warn_only=True)",
        ]
    weights = called("CHGNet.load", {"model_name": model, "use_device": device, "verbose": False})
    return Written(
        imports=[
            *(["import os"] if resources.gpus else []),
            "import torch",
            "from chgnet.model.dynamics import CHGNetCalculator",
            "from chgnet.model.model import CHGNet",
        ],
        before=[*before, f"model = {weights}"],
        made=f"CHGNetCalculator(model=model, use_device={device!r}, on_isolated_atoms='error')",
    )
