"""Advances a script's runs in chunks that change nothing, and takes its samples."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

from nanoos_lab.core.errors import InputError
from nanoos_lab.engines.drive import Course, drive
from nanoos_lab.engines.lammps import units
from nanoos_lab.engines.lammps.batch.output import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nanoos_lab.core.frames import Sample
    from nanoos_lab.engines.base import RunContext
    from nanoos_lab.engines.lammps.program import Program
    from nanoos_lab.engines.lammps.script.recorder import Recorder
    from nanoos_lab.engines.lammps.script.text import Word


#: Beginning of the line in which a minimiser says why it has ended.
_CRITERION = "  Stopping criterion ="
#: Reasons that are those for which it was started.
_CONVERGED = frozenset({"energy tolerance", "force tolerance", "forces are zero"})


@dataclass(frozen=True, kw_only=True)
class RunCommand:
    """A ``run`` command, read."""

    #: Steps to make.
    steps: int
    #: LAMMPS's steps between which ramps lead.
    start: int
    stop: int
    #: Whether to set up anew before it.
    pre: bool
    #: Whether it has commands of its own to execute every so many steps.
    nested: bool

    @classmethod
    def parse(cls, words: Sequence[str], now: int) -> RunCommand:
        """Read a command; `now` is LAMMPS's step.

        Raises
        ------
        InputError
            If it is not a ``run`` command.
        """
        options = {"start": "", "stop": "", "pre": "yes", "post": "yes"}
        rest = list(words[2:])
        upto = rest[:1] == ["upto"]
        nested = "every" in rest
        rest = rest[upto : rest.index("every") if nested else None]
        if len(rest) % 2 or not set(rest[::2]) <= set(options):
            raise InputError(f"not a run command: {' '.join(words)!r}")
        options.update(zip(rest[::2], rest[1::2], strict=True))
        try:
            count = int(words[1])
            steps = count - now if upto else count
            start = int(options["start"] or now)
            stop = int(options["stop"] or now + steps)
        except (ValueError, IndexError):
            raise InputError(f"not a run command: {' '.join(words)!r}") from None
        if steps < 0:
            raise InputError(f"a run cannot have {steps} steps")
        return cls(steps=steps, start=start, stop=stop, pre=options["pre"] != "no", nested=nested)


class Runner:
    """Advances runs; keeps samples at the multiples of the script's ``thermo``.

    Parameters
    ----------
    program
        LAMMPS.
    recorder
        Makes the samples.
    context
        Asked for stops and watchers.
    """

    def __init__(self, program: Program, recorder: Recorder, context: RunContext) -> None:
        self._program = program
        self._recorder = recorder
        self._context = context
        #: Argument of the script's last ``thermo``; 0 for first and last step only.
        self.every = 0
        #: Whether energies of thermo are those of an atom.
        self.normalised = False
        #: What the last run or minimisation lacks; None if nothing was to converge, "" if it has.
        self.caveat: str | None = None
        self._style: tuple[str, ...] = ()
        self._derived = False
        self._timed = False
        self._halts: set[str] = set()

    @property
    def stopped(self) -> bool:
        """Whether a stop was asked for."""
        return self._context.stop is not None

    def notice(self, words: Sequence[str]) -> None:
        """Take note of what a command that LAMMPS has executed means for the runs to come."""
        match words:
            case ["thermo", every]:
                self.every = int(every) if every.isdigit() else 0
            case ["thermo_style", *style]:
                self._style, self.normalised = tuple(style), False
            case ["thermo_modify", *options] if "norm" in options[:-1]:
                self.normalised = options[options.index("norm") + 1] == "yes"
            case ["timer", *options] if "timeout" in options[:-1]:
                self._timed = options[options.index("timeout") + 1] not in ("off", "unlimited")
            case ["fix", name, _, "halt", *_]:
                self._halts.add(name)
            case ["unfix", name]:
                self._halts.discard(name)
            case ["compute", *arguments]:
                self._derived |= any(word.startswith(("f_", "v_")) for word in arguments)
            case ["clear"]:
                self.every, self._style, self._derived, self.normalised = 0, (), False, False
                self._halts.clear()

    @property
    def _may_halt_anywhere(self) -> bool:
        """Whether thermo can be asked for at any step: not what a fix has at its own steps only, or may change."""
        if any(word.startswith(("f_", "v_")) for word in self._style):
            return False
        return not (self._derived and any(word.startswith("c_") for word in self._style))

    def run(self, text: str, words: Sequence[str]) -> None:
        """Execute a ``run`` or ``minimize`` command.

        Parameters
        ----------
        text
            The command as it was checked; put together again from its words, its quotes could mean something else.
        words
            Its words.
        """
        first, command = self._program.step, None
        if words[0] == "run":
            command = RunCommand.parse(words, first)
        if command is None or command.steps:
            # A run of no steps only looks at what there is.
            self.caveat = None
        if command is not None and not command.nested:
            self._in_chunks(command)
            self._check_end(first + command.steps)
            return
        place = self._program.logged()
        self._program.command(text)
        if self._context.stop is None:
            self._keep_printed(place)
            self._keep_present()
            if command is not None:
                self._check_end(first + command.steps)
            elif self.caveat is None and self._timed:
                self.caveat = "the last minimisation was not made: the time that timer timeout gives was over"

    def _keep_printed(self, place: int) -> None:
        """Keep the rows that a command has printed on its way, which nobody could see then; they have no frames."""
        table = Table()
        for line in self._program.logged_since(place):
            row = table.feed(line)
            if row is not None and row["Step"] != self._program.step:
                self._recorder.keep_row(row)
            elif line.startswith(_CRITERION):
                self._judge(line)

    def _judge(self, line: str) -> None:
        """Note whether a minimisation has converged, from what it says of why it ended."""
        why = line.partition("=")[2].strip()
        self.caveat = "" if why in _CONVERGED else f"the last minimisation did not converge: {line.strip()}"
        if self.caveat:
            # Of a script's many only the last decides what the results are.
            self._context.log(f"step {self._recorder.step_of(self._program.step)}: {self.caveat}")

    def _check_end(self, last: int) -> None:
        """Note that a run has ended before its last step, which LAMMPS does not call an error."""
        left = last - self._program.step
        if left > 0 and self._context.stop is None:
            suspects = [name for name, there in (("timer timeout", self._timed), ("fix halt", self._halts)) if there]
            self._context.log(f"{' or '.join(suspects) or 'LAMMPS'} has ended a run {left} steps before its end")
            # Who has a fix halt means it.
            if self._timed and not self._halts:
                self.caveat = f"timer timeout has ended the last run {left} steps before its end"

    def _in_chunks(self, command: RunCommand) -> None:
        """Execute a ``run`` command; rows and frames of it are those of one native run."""
        first = self._program.step
        chunks = _Chunks(self._program, self._recorder, command)
        chunks.set_up()
        self._keep_present()
        offset = self._recorder.step_of(first) - first
        last = first + command.steps
        with contextlib.suppress(_HaltedError):
            # Without checkpoints: what a script's variables, loops and files hold is in no restart file.
            drive(
                chunks,
                Course(
                    steps=last + offset,
                    every=self.every or last + 1,
                    first=first + offset,
                    origin=offset,
                    between=self._may_halt_anywhere,
                    clock=self._program.clock,
                ),
                cast("RunContext", _Once(self._context, self._recorder)),
            )
        if self._context.stop is None:
            self._keep_present()

    def _keep_present(self) -> None:
        self._recorder.keep()
        self._context.progress(self._recorder.step_of(self._program.step))


class _Once:
    """The run's context, which gets each sample once: runs of a script share a step where they meet."""

    def __init__(self, context: RunContext, recorder: Recorder) -> None:
        self._context = context
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def sample(self, sample: Sample) -> None:
        self._recorder.hand_over(sample)


class _HaltedError(Exception):
    """The script itself has ended a run before its last step, with ``fix halt`` or ``timer timeout``."""


class _Chunks:
    """A ``run`` command as a `Stepper`."""

    def __init__(self, program: Program, recorder: Recorder, command: RunCommand) -> None:
        self._program = program
        self._recorder = recorder
        self._command = command

    def set_up(self) -> None:
        """Compute forces and thermo of the first step."""
        self._go(0, "yes" if self._command.pre else "no")

    def advance(self, steps: int) -> int:
        """Advance; the same as one long run, in whatever chunks."""
        before = self._program.step
        self._go(steps, "no")
        if self._program.step < before + steps:
            raise _HaltedError
        return steps

    def sample(self, step: int) -> Sample:
        """Return the last row of thermo and the frame."""
        return self._recorder.sample()

    def glance(self, step: int) -> Sample:
        """Return the last row of thermo and the frame."""
        return self.sample(step)

    def _go(self, steps: int, pre: str) -> None:
        ramp = f"start {self._command.start} stop {self._command.stop}"
        self._program.command(f"run {steps} {ramp} pre {pre} post no")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the text of a script says of its runs."""

    #: Steps of all runs; None if the text alone does not say.
    total: int | None
    #: Headings of the columns that its ``thermo_style custom`` commands bring.
    headings: tuple[str, ...]

    @classmethod
    def of(cls, commands: Sequence[Sequence[Word]]) -> Self:
        """Read the commands of a script."""
        texts = [[word.text for word in words] for words in commands]
        styles = [words[2:] for words in texts if words[:2] == ["thermo_style", "custom"]]
        headings = [units.heading_of(keyword) for words in styles for keyword in words if "$" not in keyword]
        return cls(total=_total_steps(texts), headings=tuple(headings))


def _total_steps(commands: Sequence[Sequence[str]]) -> int | None:
    total = 0
    for name, *arguments in commands:
        if name in ("jump", "if", "include", "minimize", "rerun", "read_restart"):
            return None
        if name == "run":
            if not arguments or not arguments[0].isdigit() or "upto" in arguments:
                return None
            total += int(arguments[0])
    return total
