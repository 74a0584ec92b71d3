"""Interactive simulation manager for Jupyter: submit, watch live, get DataFrames.

Importing this package does nothing: every public name is loaded when it is first used.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nanoos_lab.core.errors import InputError as InputError
    from nanoos_lab.core.errors import JobCancelledError as JobCancelledError
    from nanoos_lab.core.errors import JobError as JobError
    from nanoos_lab.core.errors import JobFailedError as JobFailedError
    from nanoos_lab.core.errors import NanoosError as NanoosError
    from nanoos_lab.core.errors import ServiceError as ServiceError
    from nanoos_lab.core.resources import Limits as Limits
    from nanoos_lab.core.resources import Resources as Resources
    from nanoos_lab.core.resources import RetryPolicy as RetryPolicy
    from nanoos_lab.core.status import Reason as Reason
    from nanoos_lab.core.status import Status as Status
    from nanoos_lab.lab.api import diff as diff
    from nanoos_lab.lab.api import engines as engines
    from nanoos_lab.lab.api import jobs as jobs
    from nanoos_lab.lab.api import load as load
    from nanoos_lab.lab.api import prune as prune
    from nanoos_lab.lab.api import schedule as schedule
    from nanoos_lab.lab.api import schedules as schedules
    from nanoos_lab.lab.api import submit as submit
    from nanoos_lab.lab.api import submit_many as submit_many
    from nanoos_lab.lab.api import sweep as sweep
    from nanoos_lab.lab.draft import Draft as Draft
    from nanoos_lab.lab.group import Group as Group
    from nanoos_lab.lab.job import Job as Job
    from nanoos_lab.lab.lab import Lab as Lab
    from nanoos_lab.lab.potentials import potentials as potentials
    from nanoos_lab.lab.schedules import Schedule as Schedule
    from nanoos_lab.lab.tasks import cancel_job as cancel_job
    from nanoos_lab.lab.tasks import run_dummy_job as run_dummy_job
    from nanoos_lab.lab.tasks import run_simulation_job as run_simulation_job
    from nanoos_lab.lab.tasks import update_job_status as update_job_status
    from nanoos_lab.lab.workflows.convergence import convergence_test as convergence_test
    from nanoos_lab.lab.workflows.elastic import elastic_constants as elastic_constants
    from nanoos_lab.lab.workflows.eos import equation_of_state as equation_of_state
    from nanoos_lab.lab.workflows.phonons import phonons as phonons
    from nanoos_lab.lab.workflows.ramp import temperature_ramp as temperature_ramp
    from nanoos_lab.worker.settings import Settings as Settings

_HOME = {
    "nanoos_lab.core.errors": (
        "InputError",
        "JobCancelledError",
        "JobError",
        "JobFailedError",
        "NanoosError",
        "ServiceError",
    ),
    "nanoos_lab.core.resources": ("Limits", "Resources", "RetryPolicy"),
    "nanoos_lab.core.status": ("Reason", "Status"),
    "nanoos_lab.lab.api": (
        "diff",
        "engines",
        "jobs",
        "load",
        "prune",
        "schedule",
        "schedules",
        "submit",
        "submit_many",
        "sweep",
    ),
    "nanoos_lab.lab.draft": ("Draft",),
    "nanoos_lab.lab.group": ("Group",),
    "nanoos_lab.lab.job": ("Job",),
    "nanoos_lab.lab.lab": ("Lab",),
    "nanoos_lab.lab.potentials": ("potentials",),
    "nanoos_lab.lab.schedules": ("Schedule",),
    "nanoos_lab.lab.tasks": ("cancel_job", "run_dummy_job", "run_simulation_job", "update_job_status"),
    "nanoos_lab.lab.workflows.convergence": ("convergence_test",),
    "nanoos_lab.lab.workflows.elastic": ("elastic_constants",),
    "nanoos_lab.lab.workflows.eos": ("equation_of_state",),
    "nanoos_lab.lab.workflows.phonons": ("lattice_dynamics", "phonons"),
    "nanoos_lab.lab.workflows.ramp": ("temperature_ramp",),
    "nanoos_lab.worker.settings": ("Settings",),
}
_PUBLIC = {name: module for module, names in _HOME.items() for name in names}

__version__ = "0.1.0"
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]
