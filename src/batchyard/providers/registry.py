"""The kinds of provider that are installed, ours and those of outside packages."""

from importlib.metadata import entry_points

from batchyard.errors import ConfigError
from batchyard.providers.base import Provider

PROVIDER_GROUP = "batchyard.providers"


def find_kind(kind: str) -> type[Provider]:
    """Return the provider class of a kind; raise `ConfigError` naming the known ones."""
    known = {point.name: point for point in entry_points(group=PROVIDER_GROUP)}
    if kind not in known:
        names = ", ".join(sorted(known)) or "none"
        raise ConfigError(f"No provider kind '{kind}' is installed. Known: {names}.")
    loaded: type[Provider] = known[kind].load()
    return loaded
