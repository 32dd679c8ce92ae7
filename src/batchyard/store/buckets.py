"""Buckets of S3 and of what speaks its protocol, by the library obstore (`batchyard[s3]`)."""

from datetime import timedelta
from typing import Protocol
from urllib.parse import urlsplit

from batchyard.config import Config
from batchyard.errors import ConfigError, ContentMissing, StoreError

try:
    from obstore.exceptions import BaseError
    from obstore.store import S3Store
except ImportError:  # pragma: no cover - the extra is part of the developers' tools
    S3Store = None  # type: ignore[assignment, misc]
    BaseError = Exception  # type: ignore[assignment, misc]


FAULTS = (BaseError, OSError)
"""A missing object is the FileNotFoundError of Python; so is a missing bucket."""
NO_BUCKET = "NoSuchBucket"
"""By this code of S3 they are told apart."""


class Bucket(Protocol):
    """A bucket, by the whole addresses of its objects."""

    async def put(self, location: str, content: bytes) -> None:
        """Keep an object."""

    async def get(self, location: str) -> bytes:
        """Return an object."""
        ...

    async def remove(self, location: str) -> None:
        """Remove an object."""


class S3Bucket:
    """A bucket of one S3 server."""

    def __init__(self, name: str, config: Config) -> None:
        secret = config.s3_secret_access_key
        options = {
            "region": config.s3_region,
            "endpoint": config.s3_endpoint_url,
            "access_key_id": config.s3_access_key_id,
            "secret_access_key": None if secret is None else secret.get_secret_value(),
        }
        is_plain = (config.s3_endpoint_url or "").startswith("http://")
        self._store = S3Store(
            name,
            client_options={"allow_http": is_plain, "timeout": "30s"},
            # The caller repeats, and tells the log why.
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=10)},
            **{key: value for key, value in options.items() if value is not None},  # type: ignore[arg-type]
        )

    async def put(self, location: str, content: bytes) -> None:
        """Keep an object; raise `StoreError`."""
        try:
            await self._store.put_async(_key(location), content)
        except FAULTS as error:
            raise StoreError(f"A document cannot be written: {_first_line(error)}.") from error

    async def get(self, location: str) -> bytes:
        """Return an object; raise `StoreError`, and `ContentMissing` where there is none."""
        try:
            found = await self._store.get_async(_key(location))
            return bytes(await found.bytes_async())
        except FAULTS as error:
            is_gone = isinstance(error, FileNotFoundError) and NO_BUCKET not in str(error)
            fault = ContentMissing if is_gone else StoreError
            raise fault(f"A document cannot be read: {_first_line(error)}.") from error

    async def remove(self, location: str) -> None:
        """Remove an object; raise `StoreError`."""
        try:
            await self._store.delete_async(_key(location))
        except FileNotFoundError:
            return
        except FAULTS as error:
            raise StoreError(f"A document cannot be removed: {_first_line(error)}.") from error


def open_bucket(name: str, config: Config) -> Bucket:
    """Return a bucket; raise `ConfigError` where the library is missing or the settings wrong."""
    if S3Store is None:
        raise ConfigError(
            "BATCHYARD_DOCUMENT_STORE is a bucket: install it with `pip install 'batchyard[s3]'`."
        )
    try:
        return S3Bucket(name, config)
    except BaseError as error:
        raise ConfigError(f"The bucket {name} cannot be used: {_first_line(error)}.") from error


def _key(location: str) -> str:
    return urlsplit(location).path.lstrip("/")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip(".")
