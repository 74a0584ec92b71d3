"""The main job in one command: molecular dynamics of copper through a real worker."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nanoos_lab.cli.output import say
from nanoos_lab.cli.session import open_lab
from nanoos_lab.core.errors import SettingsError, UnknownNameError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class _Demo:
    """What an engine shows in some seconds."""

    #: Copies of the cubic cell of four atoms along each axis.
    repeat: int
    #: Steps of 2 fs.
    steps: int
    #: The engine's own parameters.
    parameters: Mapping[str, Any] = field(default_factory=dict)


_DEMOS = {
    "lammps": _Demo(repeat=6, steps=10_000, parameters={"potential": "Cu_u3.eam"}),
    "ase": _Demo(repeat=3, steps=1_000, parameters={"calculator": "emt"}),
    "mock": _Demo(repeat=3, steps=1_000, parameters={"duration": 5.0}),
}


def demo(
    engine: Annotated[str, typer.Option("--engine", "-e", help="lammps, ase or mock.")] = "lammps",
    steps: Annotated[int | None, typer.Option(help="Steps of 2 fs; a run of some seconds unless given.")] = None,
) -> None:
    """Run molecular dynamics of copper and watch it.

    Starts the lab of this computer if it does not run, submits the job to its workers, shows the progress,
    and prints the thermo table.
    """
    if engine not in _DEMOS:
        raise UnknownNameError("engine of the demo", engine, _DEMOS)
    _require(engine)
    shown = _DEMOS[engine]
    from ase.build import bulk

    from nanoos_lab.cli.progress import follow

    count = shown.steps if steps is None else steps
    with open_lab() as lab:
        job = lab.submit(
            bulk("Cu", cubic=True).repeat(shown.repeat),
            engine=engine,
            task="md",
            name="copper demo",
            ensemble="nvt",
            temperature=600.0,
            timestep=2.0,
            steps=count,
            every=max(1, count // 100),
            # A demo shows a run.
            cache=False,
            **shown.parameters,
        )
        say(f"job {job.id}")
        follow(job)
        job.result()
        print(_with_units(job.thermo))
        say("\nIn notebooks: nanoos-lab lab. Jobs so far: nanoos-lab jobs. Stop the lab: nanoos-lab down.")


def _require(engine: str) -> None:
    from nanoos_lab.engines import registry

    info = registry.get(engine).probe()
    if not info.found:
        others = "`nanoos-lab demo --engine ase` needs nothing more"
        raise SettingsError(f"engine {engine!r} cannot run here: {info.missing.rstrip('.')}. {others}.")


def _with_units(thermo: "pd.DataFrame") -> str:
    """Return the table as text, with a line of units under the names."""
    shown = thermo.copy()
    units = thermo.attrs["units"]
    shown.columns = [list(thermo.columns), [units[name] for name in thermo.columns]]
    return shown.to_string(max_rows=12, float_format=lambda value: f"{value:.6g}")
