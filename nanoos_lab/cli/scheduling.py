"""Commands about jobs that come again: schedule, schedules, unschedule."""

from typing import Annotated

import typer

from nanoos_lab.cli import options
from nanoos_lab.cli.output import JsonOption, print_json, print_table, say
from nanoos_lab.cli.session import open_lab
from nanoos_lab.cli.submitting import parameters_of, structure_of


def schedule(  # noqa: PLR0913 - each is an option of the command
    file: options.StructureFile = None,
    *,
    engine: options.Engine,
    task: options.Task,
    repeat: Annotated[
        str,
        typer.Option(help="How often: 6h, 1d, or a cron expression of five fields in UTC, such as '0 3 * * mon'."),
    ],
    times: Annotated[int | None, typer.Option(help="How many jobs in all; without end unless given.")] = None,
    parameters: options.Parameters = None,
    name: options.Name = None,
    queue: options.Queue = "simulations",
    priority: options.Priority = 5,
    retries: options.Retries = None,
    soft_limit: options.SoftLimit = None,
    hard_limit: options.HardLimit = None,
    memory_limit: options.MemoryLimit = None,
    not_before: options.NotBefore = None,
    as_json: JsonOption = False,
) -> None:
    """Submit a job again and again, and print the id of the schedule.

    Each turn is a run of its own. Turns that were missed are not made up for, and while the job of the last turn has
    not ended, turns are left out.
    """
    from nanoos_lab.lab.schedules import schedule as add

    given = parameters_of(parameters)
    structure = structure_of(file)
    with open_lab() as lab:
        added = add(
            lab,
            structure,
            engine=engine,
            task=task,
            repeat=repeat,
            times=times,
            name=name,
            queue=queue,
            priority=priority,
            retries=retries,
            limits=options.limits_of(soft_limit, hard_limit, memory_limit),
            not_before=not_before,
            **given,
        )
        if as_json:
            print_json(added.record.to_json())
        else:
            print(added.id)


def schedules(as_json: JsonOption = False) -> None:
    """List schedules, the next due first."""
    from nanoos_lab.store.schedules import Schedules

    with open_lab() as lab:
        found = Schedules(lab.services.store).all()
    if as_json:
        print_json([record.to_json() for record in found])
        return
    rows = [
        (
            record.id,
            record.name,
            record.request.engine,
            record.request.task,
            record.repeat,
            f"{record.next:%Y-%m-%d %H:%M:%S} UTC",
            record.left,
            record.last_job,
        )
        for record in found
    ]
    print_table(("id", "name", "engine", "task", "repeats", "next", "left", "last job"), rows)


def unschedule(
    schedule_ids: Annotated[
        list[str], typer.Argument(metavar="ID…", help="Ids, as `nanoos-lab schedules` lists them.")
    ],
) -> None:
    """End schedules; the jobs that they have submitted stay."""
    from nanoos_lab.lab.schedules import load_schedule

    with open_lab() as lab:
        for one in [load_schedule(lab, schedule_id) for schedule_id in schedule_ids]:
            say(f"{one.id} submits no more" if one.remove() else f"{one.id} had ended before")
