"""All settings of an installation; the only place that reads the environment."""

import os
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from batchyard.errors import ConfigError


def _number(value: object) -> object:
    """Read the digits of the environment, which a Literal does not."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _expand(value: Path) -> Path:
    """Replace `~` by the home folder, once for all who use the folder."""
    try:
        return value.expanduser()
    except RuntimeError as error:
        raise ValueError(str(error)) from error


class Config(BaseSettings):
    """Settings, each read from the environment as `BATCHYARD_<NAME>`."""

    model_config = SettingsConfigDict(
        env_prefix="BATCHYARD_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    database_url: str | None = Field(
        default=None,
        description="libpq URL of an existing PostgreSQL ≥ 16; without it a private one starts",
    )
    data_dir: Annotated[Path, AfterValidator(_expand)] = Field(
        default_factory=lambda: default_data_dir(),  # noqa: PLW0108  # defined below
        description="folder of the private PostgreSQL and of the demo's token",
    )
    pg_version: Annotated[Literal[16, 18], BeforeValidator(_number)] = Field(
        default=18, description="major version of the private PostgreSQL"
    )
    host: str = Field(default="127.0.0.1", description="address the server listens on")
    port: int = Field(
        default=8080, ge=0, le=65535, description="port the server listens on; 0 picks a free one"
    )
    url: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="where commands find the server; else where `batchyard login` says, else here, "
        "at `BATCHYARD_PORT`",
    )
    token: SecretStr | None = Field(
        default=None,
        description="by which commands speak for a team; else the one of `batchyard login`",
    )
    public_url: str | None = Field(
        default=None, description="address under which providers reach this server for callbacks"
    )
    bootstrap_token: SecretStr | None = Field(
        default=None, description="made a token of the team `default` at start"
    )
    metrics_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="port on which `batchyard worker` tells its metrics; servers have `/metrics`",
    )
    otlp_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="OpenTelemetry collector (OTLP over HTTP, such as `http://127.0.0.1:4318`) "
        "that gets traces; needs `pip install 'batchyard[tracing]'`",
    )
    trace_share: float = Field(
        default=1.0, ge=0, le=1, description="share of the traces begun here that is kept"
    )
    trusted_proxy_header: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9-]+$",
        description="header in which a proxy of `BATCHYARD_TRUSTED_PROXIES` names the e-mail of "
        "who signed in; only for one that sets or removes it in every request",
    )
    trusted_proxies: str = Field(
        default="127.0.0.1",
        description="addresses and networks, with commas, of proxies that are believed when they "
        "name in `X-Forwarded-For` whom they speak for, and in the header above who signed in; "
        "`*` is anybody",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe log line that is written"
    )
    max_upload_bytes: int = Field(
        default=6 * 1024**3, gt=0, description="largest upload of a file, in bytes"
    )
    max_body_bytes: int = Field(
        default=50 * 1024**2, gt=0, description="largest JSON body, in bytes"
    )
    document_store: str = Field(
        default="postgresql",
        pattern=r"^(postgresql|file:///.+|s3://[^/]+(/.*)?)$",
        description="where labels are kept: `postgresql`, `file:///folder` or `s3://bucket/prefix`",
    )
    document_link_seconds: int = Field(
        default=3600, gt=0, description="how long a signed link to a document works"
    )
    s3_endpoint_url: str | None = Field(
        default=None,
        pattern=r"^https?://\S+$",
        description="address of an S3 server other than Amazon's",
    )
    s3_region: str | None = Field(default=None, description="region of the bucket")
    s3_access_key_id: str | None = Field(
        default=None, description="key of the bucket; without it the machine's own role counts"
    )
    s3_secret_access_key: SecretStr | None = Field(default=None, description="secret of that key")
    phone_check: Literal["possible", "valid"] = Field(
        default="possible", description="`valid` also refuses numbers in no assigned range"
    )
    intake_processes: int = Field(
        default=2, ge=0, le=64, description="processes that check uploaded rows; 0 uses threads"
    )
    refuse_same_file: bool = Field(
        default=False, description="refuses a file that came within the last 15 minutes"
    )
    import_idle_seconds: float = Field(
        default=900, gt=0, description="an upload silent for so long is removed"
    )
    bolna_schedule_step_minutes: int = Field(
        default=10, ge=0, le=60, description="scheduled times are rounded up to this mark"
    )
    bolna_schedule_lead_seconds: int = Field(
        default=120, ge=0, description="least time between scheduling and the scheduled time"
    )
    bolna_create_agents: bool = Field(
        default=True, description="an agent id never seen before is created on first use"
    )
    unknown_grace_seconds: float = Field(
        default=3600,
        ge=0,
        description="after this time the doors show an unknown outcome as failed, and what is in "
        "flight at a provider that cannot be opened, or lets nobody ask, becomes unknown",
    )
    team_concurrency: int = Field(
        default=500, gt=0, description="items of one team in flight at once, unless set per team"
    )
    brake_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="a batch or provider of which more than this share fails pauses itself; "
        "1 turns the brake off",
    )
    brake_attempts: int = Field(
        default=20, ge=1, description="attempts the brake needs to see before it judges"
    )
    brake_seconds: float = Field(default=120, gt=0, description="how far back the brake looks")
    worker_slots: int = Field(
        default=500, gt=0, description="requests one worker process has out at once"
    )
    stop_seconds: float = Field(
        default=10,
        ge=0,
        description="time a stopping worker waits for what is out; `up` and `demo` wait 4 seconds "
        "unless it is set",
    )
    webhook_allow_private: bool = Field(
        default=False, description="webhooks may go to private and loopback addresses"
    )
    secret_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="encrypts stored secrets; made on first start for the private PostgreSQL",
    )
    failpoint: str | None = Field(
        default=None,
        pattern=r"^[a-z_]+(:[1-9][0-9]*)?$",
        description="for tests of crashes only: the step at which the process kills itself",
    )
    testing: bool = Field(default=False, description="for tests only: allows BATCHYARD_FAILPOINT")
    sandbox_speed: float = Field(
        default=1, ge=0, description="1 is lifelike, 50 fifty times faster, 0 at once"
    )
    sandbox_seed: str = Field(
        default="batchyard", description="spreads the sandbox's outcomes of ordinary rows"
    )

    @model_validator(mode="after")
    def _refuse_failpoints_outside_tests(self) -> "Config":
        if self.failpoint is not None and not self.testing:
            raise ValueError("BATCHYARD_FAILPOINT kills the process and is for tests only")
        return self

    @field_validator("trusted_proxies")
    @classmethod
    def _refuse_names(cls, given: str) -> str:
        for part in given.split(","):
            if part.strip() != "*":
                # Raises ValueError: a name would be believed of nobody, and silently.
                ip_network(part.strip())
        return given

    def trusts_proxy(self, peer: str | None) -> bool:
        """Tell whether a peer, by the address its connection comes from, is a trusted proxy."""
        parts = [part.strip() for part in self.trusted_proxies.split(",")]
        if "*" in parts:
            return True
        try:
            address = ip_address(peer or "")
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in ip_network(part) for part in parts)

    @property
    def server_url(self) -> str:
        """Where commands find the server."""
        return (self.url or f"http://127.0.0.1:{self.port}").rstrip("/")

    @property
    def callback_base(self) -> str:
        """Where providers reach this server: the public address, else the one it listens on."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")


def load(**overrides: object) -> Config:
    """Read the environment; values given here (None counts as not given) win.

    Raises `ConfigError` naming each wrong setting.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Config(**given)  # type: ignore[arg-type]  # pydantic checks them
    except ValidationError as error:
        faults = "; ".join(_tell(fault) for fault in error.errors())
        raise ConfigError(f"Wrong setting. {faults}") from error


def _tell(fault: ErrorDetails) -> str:
    """Name the setting that is wrong; where several are together, the message does."""
    if not fault["loc"]:
        return fault["msg"].removeprefix("Value error, ")
    return f"BATCHYARD_{'.'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"


def default_data_dir() -> Path:
    """Return where the private PostgreSQL lives unless told otherwise.

    As root the server runs as a user of its own that must reach the folder, so a home folder
    will not do.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/batchyard")
    return Path(platformdirs.user_data_dir("batchyard"))


def login_file() -> Path:
    """Return where `batchyard login` keeps a server's address and token."""
    return Path(platformdirs.user_config_dir("batchyard")) / "login.json"
