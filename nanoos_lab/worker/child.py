"""What runs in an engine process: one run, told to the work-horse over a pipe."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from nanoos_lab.core.errors import EngineError, InputError, NotInstalledError
from nanoos_lab.core.parameters import validate
from nanoos_lab.core.record import Steering
from nanoos_lab.core.request import JobRequest
from nanoos_lab.core.status import Reason
from nanoos_lab.core.structures import Structure
from nanoos_lab.engines import registry, silence
from nanoos_lab.engines.base import EnginePolicy
from nanoos_lab.engines.ranks import beside
from nanoos_lab.store.checkpoints import find
from nanoos_lab.worker import devices, pipe, provenance
from nanoos_lab.worker.context import Past, PipeContext
from nanoos_lab.worker.processes import adopt_orphans, end_children, end_with
from nanoos_lab.worker.strays import MARK

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection

    from nanoos_lab.core.frames import Results
    from nanoos_lab.engines.registry import Calculation

#: Exit code of an engine process that has ended by itself, with all that it had started.
CLEAN = 77
#: Directory of an attempt with its checkpoints.
CHECKPOINTS = "checkpoints"
#: Variables with passwords, which are no business of engines and what they start.
_SECRET = ("REDIS_URL", "RQ_REDIS_URL", "DATABASE_URL")
#: What the system says when there is no more room for a file.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main(connection: Connection, parent: int) -> NoReturn:
    """Run in the forked process; never returns into the code of its parent."""
    code = 1
    try:
        os.setpgid(0, 0)
        end_with(parent)
        adopt_orphans()
        surroundings = beside({name: value for name, value in os.environ.items() if name not in _SECRET})
        for name in os.environ.keys() - surroundings.keys():
            del os.environ[name]
        os.environ.update(surroundings)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        _serve(connection)
        code = CLEAN
    except EOFError:
        # The work-horse had no use for us: a stale claim.
        code = CLEAN
    finally:
        # On a full disk a flush fails; that must not stand in the way of the end.
        with suppress(OSError):
            sys.stdout.flush()
        with suppress(OSError):
            sys.stderr.flush()
        end_children()
        os._exit(code)


def _serve(connection: Connection) -> None:
    message = pipe.receive(connection)
    try:
        results = _run(connection, message)
        _send_results(connection, results)
    except BrokenPipeError:
        # The work-horse hears nothing any more.
        raise
    except (EngineError, InputError, MemoryError) as error:
        pipe.send(connection, "failed", _failure(error))
    except Exception as error:
        with suppress(OSError):
            traceback.print_exc()
        pipe.send(connection, "failed", _failure(error))


def _run(connection: Connection, message: pipe.Message) -> Results:
    data = message.arrays["structure"].tobytes()
    request = JobRequest.from_json(message.fields["request"], Structure(data) if data else None)
    directory = Path(message.fields["directory"])
    places = [Path(place) for place in message.fields.get("checkpoints", ())]
    found = find(places, message.fields.get("last_steps", ()))
    context = PipeContext(
        connection,
        workdir=directory / "work",
        files={role: Path(path) for role, path in message.fields["files"].items()},
        resources=request.resources,
        policy=_policy(message.fields["policy"]),
        past=Past(
            place=directory / CHECKPOINTS,
            checkpoints=found.checkpoints,
            interval=message.fields.get("checkpoint_interval", Past.interval),
            steps=message.fields.get("checkpoint_steps"),
            steerings=tuple(Steering(**one) for one in message.fields.get("steerings", ())),
        ),
    )
    devices.receive(connection, message.fields.get("gpus", ()))
    # What the run starts can be known by it, wherever it escapes to.
    os.environ[MARK] = message.fields.get("job", "")
    _redirect_output(directory / "log.txt")
    context.workdir.mkdir()
    os.chdir(context.workdir)
    context.listen()
    for refused in found.refused:
        context.log(f"warning: the checkpoint {refused.directory} cannot be used: {refused.why}")
    with context.patience(silence.patience()):
        return _calculated(connection, message, request, context)


def _calculated(connection: Connection, message: pipe.Message, request: JobRequest, context: PipeContext) -> Results:
    """Run a request, once it is known that it can be."""
    calculation = registry.calculation(request.engine, request.task)
    made_by = provenance.collect(request, calculation, context.files)
    # Before anything can go wrong with the run: what failed is to be known as well as what made results.
    pipe.send(connection, "made_by", provenance.joined(made_by, {}))
    # At submit it was another installation that was asked.
    calculation.check_resources(request.resources)
    if message.fields.get("late"):
        _check_late(calculation, request, context)
    results = calculation.run(request, context)
    if steerings := context.applied():
        made_by = {**made_by, "steerings": steerings}
    return replace(results, provenance=provenance.joined(made_by, results.provenance))


def _check_late(calculation: Calculation, request: JobRequest, context: PipeContext) -> None:
    """Check a structure that was not known when the job was submitted.

    Raises
    ------
    InputError
        If the run could not work.
    """
    parameters = validate(calculation.parameters, request.parameters, where=calculation.where)
    calculation.check(request.structure, parameters, context.policy, context.files)


def _policy(fields: Mapping[str, Any]) -> EnginePolicy:
    calculators = fields["calculators"]
    return EnginePolicy(
        allow_shell=fields["allow_shell"], calculators=None if calculators is None else tuple(calculators)
    )


def _redirect_output(path: Path) -> None:
    """Let everything that the engine prints, from C as well, end in the job's log."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)


def _failure(error: Exception) -> dict[str, Any]:
    if isinstance(error, EngineError):
        words = {"reason": error.reason, "message": error.message, "remedy": error.remedy}
        if isinstance(error, NotInstalledError):
            return {**words, "missing": True}
        return words if error.correction is None else {**words, "correction": error.correction.to_json()}
    if isinstance(error, InputError):
        return {"reason": Reason.INPUT, "message": str(error), "remedy": ""}
    if isinstance(error, MemoryError):
        return {"reason": Reason.MEMORY, "message": "the engine process ran out of memory", "remedy": ""}
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return {"reason": Reason.RESOURCE, "message": f"there is no room for the run's files: {error}", "remedy": ""}
    return {
        "reason": Reason.BUG,
        "message": f"{type(error).__name__}: {error}",
        "remedy": "The log of the job has the traceback (job.log); please report it.",
    }


def _send_results(connection: Connection, results: Results) -> None:
    arrays = {name: value for name, value in results.properties.items() if isinstance(value, np.ndarray)}
    scalars = {name: value for name, value in results.properties.items() if name not in arrays}
    fields = {
        "scalars": {name: value.item() if isinstance(value, np.generic) else value for name, value in scalars.items()},
        "provenance": dict(results.provenance),
        "stopped": results.stopped,
        "units": dict(results.units),
        "has_structure": results.structure is not None,
    }
    data = results.structure.data if results.structure else b""
    pipe.send(connection, "done", fields, {**arrays, "$structure": np.frombuffer(data, dtype=np.uint8)})
