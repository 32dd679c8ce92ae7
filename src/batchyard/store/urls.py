"""Database URLs: which are understood, and why one does not lead to a database."""

import psycopg
from psycopg.conninfo import conninfo_to_dict

from batchyard.errors import ConfigError

UNDERSTOOD = "postgresql://user:password@host:5432/database"


def check_url(url: str) -> None:
    """Raise `ConfigError` unless libpq understands the URL; the message does not repeat it."""
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise ConfigError(
            f"BATCHYARD_DATABASE_URL is not a URL that PostgreSQL understands, like {UNDERSTOOD}."
        ) from error


def unreachable(error: psycopg.Error) -> ConfigError:
    """Return the error for people of a connection that could not be made."""
    lines = [line.strip(" -\t") for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "failed" in line or "FATAL" in line]
    # libpq tells every address it tried; the last says as much as any.
    reason = (telling or lines or [type(error).__name__])[-1].rstrip(".")
    return ConfigError(
        f"PostgreSQL cannot be reached: {reason}. "
        "Check BATCHYARD_DATABASE_URL and that the server runs."
    )
