"""Melting and annealing: molecular dynamics through a list of temperatures, each going on where the last one ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nanoos_lab.core.errors import ParameterError
from nanoos_lab.lab.draft import Draft
from nanoos_lab.lab.group import Group
from nanoos_lab.lab.lab import default_lab

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from ase import Atoms

    from nanoos_lab.lab.job import Job
    from nanoos_lab.lab.lab import Lab


class TemperatureRamp(Group):
    """The stages of a ramp, in their order."""

    @property
    def thermo(self) -> pd.DataFrame:
        """Scalar time series of all stages so far, one after the other.

        Indexed by `stage`, from 0, and `step`; `time` in fs goes on from stage to stage, and `target` is the
        temperature of the stage in K. ``attrs["units"]`` has every column's unit.
        """
        import pandas as pd

        frames: dict[int, pd.DataFrame] = {}
        units: dict[str, str] = {"target": "K"}
        begin = 0.0
        for stage, (job, target) in enumerate(zip(self, self.columns["temperature"], strict=True)):
            frame = job.thermo
            if frame.empty:
                break
            units |= frame.attrs["units"]
            frames[stage] = frame.assign(time=frame["time"] + begin, target=target)
            begin = float(frames[stage]["time"].iloc[-1])
        if not frames:
            return pd.DataFrame(index=pd.MultiIndex.from_arrays([[], []], names=["stage", "step"]))
        joined = pd.concat(frames, names=["stage", "step"])
        joined.attrs["units"] = units
        return joined

    def averages(self, discard: float = 0.5) -> pd.DataFrame:
        """Return the mean of every thermo column in every stage that has begun.

        Parameters
        ----------
        discard
            First part of each stage that is left out, as a fraction, while it settles.

        Returns
        -------
        pandas.DataFrame
            A row per stage, indexed by `target`, its temperature in K; ``attrs["units"]`` has the units.
        """
        if not 0 <= discard < 1:
            raise ParameterError("discard", discard, "a number from 0 to below 1")
        thermo = self.thermo
        if thermo.empty:
            return thermo
        stages = thermo.groupby(level="stage", sort=False)
        # The last row at least.
        kept = thermo[stages.cumcount() >= (discard * stages["target"].transform("size")).astype(int)]
        means = kept.drop(columns="time").groupby(level="stage", sort=False).mean().set_index("target")
        means.attrs["units"] = {name: unit for name, unit in thermo.attrs["units"].items() if name != "time"}
        return means


def temperature_ramp(
    structure: Atoms | Job,
    *,
    temperatures: Iterable[float],
    engine: str,
    lab: Lab | None = None,
    **options: Any,
) -> TemperatureRamp:
    """Submit a chain of molecular dynamics runs, each at one temperature from the final structure of the one before.

    Positions, cell and velocities go on from stage to stage. If a stage fails, those after it are cancelled.

    Parameters
    ----------
    structure
        Where the first stage starts; or a job, whose final structure is meant.
    temperatures
        Of the stages in K, in their order: rising to melt, falling to anneal.
    engine
        What runs them.
    lab
        Where to; the default lab unless given.
    **options
        What else `Lab.submit` takes, such as ``steps`` of each stage; ``ensemble`` is "npt" at zero pressure unless
        given.

    Raises
    ------
    InputError
        If a stage cannot be carried out; nothing was stored or queued.
    """
    stages = [float(temperature) for temperature in temperatures]
    if not stages:
        raise ParameterError("temperatures", temperatures, "at least one temperature in K")
    options = {"ensemble": "npt", **options}
    if options["ensemble"] == "npt":
        options.setdefault("pressure", 0.0)
    head = options.pop("name", None) or "ramp"
    drafts: list[Draft] = []
    for stage, temperature in enumerate(stages):
        begin = drafts[-1] if drafts else structure
        name = f"{head} {stage + 1} of {len(stages)}: {temperature:g} K"
        drafts.append(Draft(begin, engine=engine, task="md", temperature=temperature, name=name, **options))
    lab = lab or default_lab()
    return TemperatureRamp(lab, lab.submit_many(drafts).ids, {"temperature": stages}, {"temperature": "K"})
