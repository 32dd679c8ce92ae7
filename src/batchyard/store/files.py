"""Where the contents of documents are kept: in PostgreSQL, in a directory, or in a bucket (S3)."""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from urllib.parse import unquote, urlsplit
from uuid import UUID

from batchyard.config import Config
from batchyard.errors import ConfigError, ContentMissing, StoreError
from batchyard.store.buckets import Bucket, open_bucket

DIRECTORY_SCHEME = "file"
BUCKET_SCHEME = "s3"


class FileStore:
    """The one place for contents; what was kept elsewhere before is still found there."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._target = config.document_store
        self._buckets: dict[str, Bucket] = {}
        if self._scheme == BUCKET_SCHEME:
            self._bucket(self._target)

    @property
    def is_outside(self) -> bool:
        """Whether new contents go elsewhere than into the rows of their documents."""
        return bool(self._scheme)

    @property
    def _scheme(self) -> str:
        return urlsplit(self._target).scheme

    async def keep(self, content: bytes, *, document_id: UUID, suffix: str) -> str:
        """Keep a content durably outside the database and return where; raise `StoreError`."""
        # The last digits are random, so the folders fill evenly.
        name = f"{document_id.hex[-2:]}/{document_id}.{suffix}"
        location = f"{self._target.rstrip('/')}/{name}"
        if self._scheme == BUCKET_SCHEME:
            await self._bucket(location).put(location, content)
        else:
            await asyncio.to_thread(_write, _path(location), content)
        return location

    async def fetch(self, location: str) -> bytes:
        """Return a content that was kept outside the database.

        Raises `StoreError`, and `ContentMissing` where the content alone is not there.
        """
        if urlsplit(location).scheme == BUCKET_SCHEME:
            return await self._bucket(location).get(location)
        return await asyncio.to_thread(_read, _path(location))

    async def remove(self, location: str) -> None:
        """Remove a content that was kept outside the database; raise `StoreError`."""
        if urlsplit(location).scheme == BUCKET_SCHEME:
            await self._bucket(location).remove(location)
            return
        try:
            await asyncio.to_thread(_path(location).unlink, missing_ok=True)
        except OSError as error:
            raise StoreError(f"A document cannot be removed: {error}.") from error

    def _bucket(self, location: str) -> Bucket:
        name = urlsplit(location).netloc
        if name not in self._buckets:
            self._buckets[name] = open_bucket(name, self._config)
        return self._buckets[name]


def check_document_store(config: Config) -> None:
    """Raise `ConfigError` when contents could not be kept where the setting says."""
    if FileStore(config).is_outside and config.document_store.startswith(DIRECTORY_SCHEME):
        folder = _path(config.document_store)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise ConfigError(
                f"Documents cannot be written to {folder}: {error.strerror}. Set "
                "BATCHYARD_DOCUMENT_STORE to a folder that can be written."
            ) from error


def folder_of(config: Config) -> Path | None:
    """Return the directory in which contents are kept; None where it is none."""
    target = config.document_store
    return _path(target) if urlsplit(target).scheme == DIRECTORY_SCHEME else None


def _path(location: str) -> Path:
    return Path(unquote(urlsplit(location).path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        # Without its folder all may be missing, as where a disk is not mounted.
        is_gone = isinstance(error, FileNotFoundError) and path.parent.is_dir()
        fault = ContentMissing if is_gone else StoreError
        raise fault(f"A document cannot be read: {error}.") from error


def _write(path: Path, content: bytes) -> None:
    """Write a file that is whole or not there, also after a crash of the machine."""
    spare = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with spare.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        spare.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with suppress(OSError):
            spare.unlink(missing_ok=True)
        raise StoreError(f"A document cannot be written: {error}.") from error
