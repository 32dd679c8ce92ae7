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


_NOT_YET = ("starting up", "recovery mode", "not yet accepting connections", "shutting down")


def will_answer_soon(error: psycopg.Error) -> bool:
    """Tell whether PostgreSQL is there, and only not ready; libpq gives no code for that."""
    return any(words in str(error) for words in _NOT_YET)


def unreachable(error: psycopg.Error | UnicodeError) -> ConfigError:
    """Return the error for people of a connection that could not be made."""
    if isinstance(error, UnicodeError):  # Of a name with an empty part, or a very long one.
        return ConfigError(
            "PostgreSQL cannot be reached: the host in BATCHYARD_DATABASE_URL is no valid name, "
            f"as in {UNDERSTOOD}."
        )
    lines = [line.strip(" -\t") for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "failed" in line or "FATAL" in line]
    # libpq tells every address it tried; the last says as much as any.
    reason = (telling or lines or [type(error).__name__])[-1].rstrip(".")
    return ConfigError(
        f"PostgreSQL cannot be reached: {reason}. "
        "Check BATCHYARD_DATABASE_URL and that the server runs."
    )
