"""Where `batchyard login` keeps the address of a server and a token, for their owner only."""

import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from batchyard.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """A server, and the token by which commands speak to it."""

    url: str
    token: str


def read(path: Path) -> Login | None:
    """Return what is kept; None where nobody logged in. Raises `ConfigError`."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Login(url=str(kept["url"]), token=str(kept["token"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read. Say `batchyard login` again.") from error


def write(path: Path, login: Login) -> None:
    """Keep a login in place of the one before. Raises `ConfigError`."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Complete or not there, whatever happens; `mkstemp` gives it mode 600.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(login), file)
        Path(name).replace(path)
    except OSError as error:
        raise ConfigError(f"The login cannot be kept in {path}: {error.strerror}.") from error


def remove(path: Path) -> bool:
    """Forget the login; tell whether there was one. Raises `ConfigError`."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError(f"{path} cannot be removed: {error.strerror}.") from error
    return True
