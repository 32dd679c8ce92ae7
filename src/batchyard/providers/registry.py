"""The kinds of provider that are installed, ours and those of outside packages."""

from importlib.metadata import entry_points

from batchyard.errors import ConfigError
from batchyard.providers.base import Provider

PROVIDER_GROUP = "batchyard.providers"


def list_kinds() -> dict[str, type[Provider]]:
    """Return every installed kind that can be loaded, by name."""
    return {
        point.name: point.load()
        for point in sorted(entry_points(group=PROVIDER_GROUP), key=lambda point: point.name)
    }


def find_kind(kind: str) -> type[Provider]:
    """Return the provider class of a kind; raise `ConfigError` naming the known ones."""
    known = {point.name: point for point in entry_points(group=PROVIDER_GROUP)}
    if kind not in known:
        names = ", ".join(sorted(known)) or "none"
        raise ConfigError(f"No provider kind '{kind}' is installed. Known: {names}.")
    loaded: type[Provider] = known[kind].load()
    return loaded
