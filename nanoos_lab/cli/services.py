"""Commands about processes: up, status, down, worker, dashboard."""

from typing import TYPE_CHECKING, Annotated

import typer

from nanoos_lab.cli.output import JsonOption, print_json, say
from nanoos_lab.cli.session import open_lab
from nanoos_lab.core.errors import NanoosError, SettingsError

if TYPE_CHECKING:
    from nanoos_lab.lab.lab import Lab

#: Exit code of `status` when the lab does not run, as service managers have it.
NOT_RUNNING = 3


def up() -> None:
    """Start the server and the workers of this computer.

    The first job does it too.
    """
    with open_lab() as lab:
        if not lab.settings.embedded:
            say("REDIS_URL is set: this is a cluster's lab, of which nothing is started here")
            return
        lab.start()
        say(f"the lab runs; its data are in {lab.settings.home}")


def status(as_json: JsonOption = False) -> None:
    """Show what runs, and where the data are.

    Exit code 3 says that the lab does not run.
    """
    from nanoos_lab.cli.overview import look, show

    with open_lab() as lab:
        found = look(lab)
    if as_json:
        print_json(found.to_json())
    else:
        show(found)
    if not found.running:
        raise typer.Exit(NOT_RUNNING)


def down(
    now: Annotated[
        bool, typer.Option("--now", help="Do not wait for running jobs; they start again with the lab.")
    ] = False,
) -> None:
    """Stop the server and the workers of this computer.

    Refused while jobs run, unless --now. Data and waiting jobs are kept.
    """
    from nanoos_lab.lab import local

    with open_lab() as lab:
        if not lab.settings.embedded:
            raise SettingsError("REDIS_URL is set: this is a cluster's lab, which is not ours to stop")
        state = local.state(lab.settings)
        if state.server is None and state.supervisor is None:
            say("the lab does not run")
            return
        if not now:
            _refuse_while_jobs_run(lab)
        if not local.stop(lab.settings, now=now):
            raise NanoosError(f"the lab has not stopped; {lab.settings.home / 'logs' / 'pool.log'} says more")
    say("the lab has stopped; its data are kept")


def _refuse_while_jobs_run(lab: "Lab") -> None:
    from nanoos_lab.core.status import Status
    from nanoos_lab.store.queries import JobQuery

    running = lab.services.store.find(JobQuery(status=Status.RUNNING))
    if running:
        names = ", ".join(f"{record.id} ({record.name}, {record.progress:.0%})" for record in running[:5])
        more = f" and {len(running) - 5} more" if len(running) > 5 else ""
        raise NanoosError(f"jobs run: {names}{more}. Wait for them, cancel them, or use --now")


def worker(
    burst: Annotated[bool, typer.Option("--burst", help="Leave when the queues are empty.")] = False,
) -> None:
    """Run one worker in the foreground, on a compute node.

    It serves all queues, in their order. The node needs the same REDIS_URL, DATABASE_URL and
    NANOOS_ARTIFACTS_URL as the notebooks.
    """
    import logging
    import os

    # Before NumPy is loaded: its BLAS would start threads, which a fork does not copy, and which fight for the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from nanoos_lab.worker.rq_worker import work

    with open_lab() as lab:
        logging.basicConfig(level=lab.settings.log_level, format="%(asctime)s %(name)s %(message)s")
        work(lab.services.connection, burst=burst)


def dashboard(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 9181,
) -> None:
    """Serve rq-dashboard on 127.0.0.1 until Ctrl-C.

    It is behind a password that is made and printed now, shows only, and refuses what is not ours.
    """
    from contextlib import suppress

    from nanoos_lab.broker.dashboard import serve

    with open_lab() as lab, suppress(KeyboardInterrupt):
        serve(lab.services.connection, port=port, announce=lambda text: print(text, flush=True))
