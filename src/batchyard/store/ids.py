"""Identifiers: UUID version 7, so that keys rise with time and indexes stay dense."""

from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """Return an id larger than every one this process made before."""
    return uuid7()
