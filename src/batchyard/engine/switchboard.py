"""Which provider does which item, and the providers of this process."""

from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.metadata import entry_points
from typing import Protocol
from uuid import UUID

from batchyard.config import Config
from batchyard.errors import ConfigError
from batchyard.models import Kind
from batchyard.providers.base import Provider, Report, Surroundings

PROVIDER_GROUP = "batchyard.providers"


class Switchboard:
    """Opens providers once a process and connects items to them."""

    def __init__(self, providers: Mapping[str, Provider], *, default: str) -> None:
        self._providers = dict(providers)
        self._default = default

    def choose(self, *, team_id: int, kind: Kind, agent_id: UUID | None) -> Provider:
        """Return the provider for items of this team, kind and agent."""
        del team_id, kind, agent_id
        return self._providers[self._default]

    async def close(self) -> None:
        """Close every provider."""
        for provider in self._providers.values():
            await provider.close()


class SwitchboardOpener(Protocol):
    """Builds the switchboard of a process."""

    def __call__(
        self, config: Config, *, clock: Callable[[], datetime], report: Report
    ) -> Switchboard:
        """Open every provider."""
        ...


def open_switchboard(
    config: Config, *, clock: Callable[[], datetime], report: Report
) -> Switchboard:
    """Build the providers of this process; without routes every item goes to the sandbox."""
    make = find_kind("sandbox")
    sandbox = make(
        Surroundings(
            name="sandbox",
            clock=clock,
            report=report,
            settings={"speed": config.sandbox_speed, "seed": config.sandbox_seed},
        )
    )
    return Switchboard({"sandbox": sandbox}, default="sandbox")


def find_kind(kind: str) -> Callable[[Surroundings], Provider]:
    """Return the provider class of an installed kind; raise `ConfigError` naming the known ones."""
    known = {point.name: point for point in entry_points(group=PROVIDER_GROUP)}
    if kind not in known:
        raise ConfigError(
            f"No provider kind '{kind}' is installed. Known: {', '.join(sorted(known)) or 'none'}."
        )
    loaded: Callable[[Surroundings], Provider] = known[kind].load()
    return loaded
