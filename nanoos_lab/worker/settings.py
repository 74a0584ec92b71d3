"""The settings of a lab and of its workers, from arguments, then the environment, then defaults.

They live on the worker floor, not in `lab`, because a plain ``rq worker`` on a compute node needs them too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from nanoos_lab.core.errors import SettingsError
from nanoos_lab.core.resources import Limits, cores
from nanoos_lab.engines.base import EnginePolicy

#: Time limits of jobs on a cluster, in s.
_SOFT_LIMIT, _HARD_LIMIT = 3300.0, 3600.0


class Settings(BaseSettings):
    """What a lab and its workers need to know; reading the environment is this object's construction.

    Use `Settings.load`, which raises our own error.
    """

    # Without population by name: the environment would be asked for the names of fields too, and `home` is everybody's
    # HOME there.
    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    #: Redis-compatible server of a cluster; None: the embedded one.
    redis_url: SecretStr | None = Field(None, validation_alias="REDIS_URL")
    #: PostgreSQL (or SQLite) database of a cluster; None: SQLite in `home`.
    database_url: SecretStr | None = Field(None, validation_alias="DATABASE_URL")
    #: Directory that every node sees, as a path or file:// URL; None: inside `home`, embedded lab only.
    artifacts_url: str | None = Field(None, validation_alias="NANOOS_ARTIFACTS_URL")
    #: Directory of the embedded lab: one host's and one person's.
    home: Path = Field(default_factory=lambda: _default_home(), validation_alias="NANOOS_HOME")
    #: What is logged.
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field("INFO", validation_alias="LOG_LEVEL")
    #: Workers of the embedded lab; as many as cores.
    concurrency: int = Field(
        default_factory=cores,
        ge=1,
        le=1024,
        validation_alias="WORKER_CONCURRENCY",
    )
    #: Seconds without a job after which the embedded lab stops by itself.
    idle_timeout: float = Field(1800.0, gt=0, validation_alias="NANOOS_IDLE_TIMEOUT")
    #: Seconds for which an attempt is its worker's without a sign of life.
    lease: float = Field(20.0, ge=3, le=3600, validation_alias="NANOOS_LEASE")
    #: Seconds of running time between two checkpoints of a run, about; 0 for none.
    checkpoint: float = Field(60.0, ge=0, le=1e6, validation_alias="NANOOS_CHECKPOINT")
    #: Limits of jobs that set none, in s of running time: 55 and 60 minutes on a cluster, none at home; 0 for none.
    soft_limit: float | None = Field(None, ge=0, validation_alias="NANOOS_SOFT_LIMIT")
    hard_limit: float | None = Field(None, ge=0, validation_alias="NANOOS_HARD_LIMIT")
    #: Graphics processors of a worker's host that jobs may be given, as ``CUDA_VISIBLE_DEVICES`` calls them, separated
    #: by commas; None: those that the system shows. That variable, where it is set, has the last word.
    gpus: Annotated[tuple[str, ...] | None, NoDecode] = Field(None, validation_alias="NANOOS_GPUS")
    #: Whether a LAMMPS script may run shell commands, Python and files that nobody checked.
    allow_shell: bool = Field(False, validation_alias="NANOOS_ALLOW_SHELL")
    #: ASE calculators that users may name as "module:Class", separated by commas; None allows any in the lab of this
    #: computer, and none on a cluster, where they are code of one person that runs as another.
    calculators: Annotated[tuple[str, ...] | None, NoDecode] = Field(None, validation_alias="NANOOS_CALCULATORS")

    @classmethod
    def load(cls, **values: Any) -> Self:
        """Read the settings; `values`, by the names of the fields, win over the environment.

        Raises
        ------
        SettingsError
            If a value is not allowed, or the settings of a cluster are incomplete.
        """
        fields = cls.model_fields
        try:
            return cls(**{str(fields[name].validation_alias): value for name, value in values.items()})
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else "settings"
            raise SettingsError(f"{name}: {first['msg']}") from None

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("calculators", "gpus", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        parts = (part.strip() for part in value.split(",")) if isinstance(value, str) else None
        return value if parts is None else tuple(dict.fromkeys(part for part in parts if part))

    @model_validator(mode="after")
    def _cluster_is_complete(self) -> Self:
        urls = {"REDIS_URL": self.redis_url, "DATABASE_URL": self.database_url}
        missing = [name for name, url in urls.items() if url is None]
        if len(missing) == 1:
            raise ValueError(
                f"{missing[0]} is not set, but the other one is; set both for a cluster, or neither for the lab of "
                "this computer"
            )
        if not missing and self.artifacts_url is None:
            raise ValueError(
                "NANOOS_ARTIFACTS_URL is not set; with REDIS_URL and DATABASE_URL it must name a directory that every "
                "node sees, such as /scratch/shared/nanoos_lab"
            )
        if self.artifacts_url is not None and "://" in self.artifacts_url.removeprefix("file://"):
            raise ValueError(
                f"NANOOS_ARTIFACTS_URL={self.artifacts_url!r}: only a directory, as a path or file:// URL, works so far"
            )
        return self

    @property
    def embedded(self) -> bool:
        """Whether server, store and workers are this person's own, on this computer."""
        return self.redis_url is None

    @property
    def store_url(self) -> str:
        """URL of the database."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home / 'store.sqlite'}"

    @property
    def artifacts(self) -> Path:
        """Directory of what the jobs write."""
        if self.artifacts_url is None:
            return self.home / "artifacts"
        return Path(self.artifacts_url.removeprefix("file://"))

    def environment(self) -> dict[str, str]:
        """Return the environment variables that make another process load the same settings."""
        values: dict[str, str] = {}
        for name, info in type(self).model_fields.items():
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, SecretStr):
                value = value.get_secret_value()
            elif isinstance(value, tuple):
                value = ",".join(value)
            values[str(info.validation_alias)] = str(value)
        return values

    @property
    def limits(self) -> Limits:
        """The limits of jobs that set none."""
        soft, hard = (None, None) if self.embedded else (_SOFT_LIMIT, _HARD_LIMIT)
        soft = soft if self.soft_limit is None else self.soft_limit or None
        hard = hard if self.hard_limit is None else self.hard_limit or None
        return Limits(soft=soft if hard is None or soft is None else min(soft, hard), hard=hard)

    @property
    def policy(self) -> EnginePolicy:
        """What engines may do."""
        unsaid = None if self.embedded else ()
        allowed = unsaid if self.calculators is None else self.calculators
        return EnginePolicy(allow_shell=self.allow_shell, calculators=allowed)


#: The environment variables that are read.
VARIABLES = tuple(str(info.validation_alias) for info in Settings.model_fields.values())


def _default_home() -> Path:
    from platformdirs import user_data_path

    return user_data_path("nanoos_lab")
