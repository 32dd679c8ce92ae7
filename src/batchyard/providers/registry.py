"""The kinds of provider that are installed, ours and those of outside packages.

A package from outside may break in any way, and must not take others with it.
"""

import traceback
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import structlog

from batchyard.errors import BatchyardError, ConfigError
from batchyard.providers.base import Provider, Surroundings

PROVIDER_GROUP = "batchyard.providers"

log = structlog.get_logger("batchyard.providers")


def list_kinds() -> dict[str, type[Provider]]:
    """Return every installed kind that can be loaded, by name."""
    found: dict[str, type[Provider]] = {}
    for point in sorted(entry_points(group=PROVIDER_GROUP), key=lambda point: point.name):
        try:
            found[point.name] = _load(point)
        except ConfigError as error:
            log.warning("provider_kind.unusable", kind=point.name, error=error.message)
    return found


def find_kind(kind: str) -> type[Provider]:
    """Return the provider class of a kind; raise `ConfigError` naming the known ones."""
    known = {point.name: point for point in entry_points(group=PROVIDER_GROUP)}
    if kind not in known:
        names = ", ".join(sorted(known)) or "none"
        raise ConfigError(f"No provider kind '{kind}' is installed. Known: {names}.")
    return _load(known[kind])


def open_provider(kind: str, surroundings: Surroundings) -> Provider:
    """Open a provider that can tell what it promises; raise `ConfigError` where there is none."""
    found = find_kind(kind)
    try:
        provider = found(surroundings)
        _ = provider.promise, provider.concurrency, provider.rate
    except BatchyardError:
        raise
    except Exception as error:
        # Not what it says: that may be a secret.
        raise ConfigError(
            f"Provider '{surroundings.name}' cannot be opened: its kind '{kind}' broke, with "
            f"{type(error).__name__} in {_place(error)}."
        ) from error
    return provider


async def close_provider(provider: Provider) -> None:
    """Close a provider; of one that breaks then nothing more is needed, so it is only logged."""
    try:
        await provider.close()
    except Exception as error:  # noqa: BLE001  # of a package from outside
        log.warning(
            "provider.unclosed",
            provider=provider.name,
            error=type(error).__name__,
            place=_place(error),
        )


def _load(point: EntryPoint) -> type[Provider]:
    """Return the class of a kind; raise `ConfigError` for a package that cannot be loaded."""
    try:
        loaded = point.load()
    except Exception as error:
        raise ConfigError(
            f"The provider kind '{point.name}' cannot be loaded from {point.value}: "
            f"{type(error).__name__}: {error}. Install its package anew, or remove it."
        ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, Provider)):
        raise ConfigError(f"The provider kind '{point.name}' is no provider: {point.value}.")
    return loaded


def _place(error: Exception) -> str:
    """Say where an exception was raised: a file and a line."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"{'/'.join(Path(last.filename).parts[-2:])}, line {last.lineno}"
