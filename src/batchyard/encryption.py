"""Secrets at rest: encrypted with the key of the installation."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken

from batchyard.errors import ConfigError


def make_key() -> str:
    """Make a new key for an installation."""
    return Fernet.generate_key().decode()


class Vault:
    """Locks and opens secrets. Any text of 16 characters or more serves as its key."""

    def __init__(self, key: str | None) -> None:
        self._fernet = None if key is None else Fernet(_stretch(key))

    def lock(self, secret: str) -> bytes:
        """Encrypt a secret; raise `ConfigError` where the installation has no key."""
        return self._opened().encrypt(secret.encode())

    def open(self, locked: bytes) -> str:
        """Decrypt a secret; raise `ConfigError` when the key is missing or another one."""
        try:
            return self._opened().decrypt(locked).decode()
        except InvalidToken as error:
            raise ConfigError(
                "A stored secret cannot be read: BATCHYARD_SECRET_KEY is not the key it was "
                "stored with. Set the old key, or store the secret again (batchyard provider "
                "change NAME --secret-file FILE)."
            ) from error

    def _opened(self) -> Fernet:
        if self._fernet is None:
            raise ConfigError(
                "Secrets are stored encrypted: set BATCHYARD_SECRET_KEY, the same for every "
                "process (openssl rand -base64 32)."
            )
        return self._fernet


def _stretch(key: str) -> bytes:
    """Bring any text to the 32 bytes Fernet wants."""
    return base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest())
