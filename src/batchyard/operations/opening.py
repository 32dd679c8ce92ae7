"""Open a provider outside the engine: to look at it, never to send."""

from batchyard.encryption import Vault
from batchyard.providers.base import Provider, Surroundings
from batchyard.providers.registry import open_provider
from batchyard.store.db import Database
from batchyard.store.providers import ProviderRow


def open_row(db: Database, vault: Vault, row: ProviderRow) -> Provider:
    """Open a stored provider; raise `ConfigError` where its settings, secret or kind forbid it."""
    return open_provider(
        row.kind,
        Surroundings(
            name=row.name,
            clock=db.clock,
            report=lambda _key, _answer: None,
            settings=row.settings,
            secret=None if row.secret is None else vault.open(row.secret),
            allow_private=row.allow_private,
        ),
    )
