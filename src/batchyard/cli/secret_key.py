"""The key that encrypts stored secrets where the private PostgreSQL is used."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from batchyard.encryption import make_key
from batchyard.errors import ConfigError

FILE_NAME = "secret.key"
LEAST_CHARACTERS = 16


def keep_secret_key(data_dir: Path) -> SecretStr:
    """Return the key in the data folder, made on first use for the eyes of its owner only.

    It lies beside the database, not in it: a dump alone opens no secret. Raises `ConfigError`.
    """
    path = data_dir / FILE_NAME
    try:
        if not path.exists():
            _make(path)
        key = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The key that encrypts stored secrets cannot be kept in {path}: {error}. Make the "
            "file readable for this user, or set BATCHYARD_SECRET_KEY."
        ) from error
    if len(key) < LEAST_CHARACTERS:
        raise ConfigError(
            f"{path} does not hold the key it once held. Put it back from a backup, or remove the "
            "file and store the providers' secrets again."
        )
    return SecretStr(key)


def _make(path: Path) -> None:
    """Write the file complete or not at all; of two processes at once the first one wins."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"{make_key()}\n")
            file.flush()
            os.fsync(handle)
        with suppress(FileExistsError):
            path.hardlink_to(name)
    finally:
        Path(name).unlink()
