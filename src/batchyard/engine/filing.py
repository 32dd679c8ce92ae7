"""Keeps documents outside the database, where they go there, before their item ends."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import structlog

from batchyard.errors import StoreError
from batchyard.models import Document
from batchyard.store.files import FileStore
from batchyard.store.ids import new_id

PARALLEL = 16
RETRY_SECONDS = (0.2, 1.0, 5.0)

log = structlog.get_logger("batchyard.documents")


class Filing:
    """Files the documents of one process."""

    def __init__(self, files: FileStore | None) -> None:
        self._files = files
        self._gate = asyncio.Semaphore(PARALLEL)

    def concerns(self, documents: Sequence[Document]) -> bool:
        """Tell whether these have to be kept elsewhere first."""
        return bool(documents) and self._files is not None and self._files.is_outside

    async def file(self, documents: Sequence[Document]) -> Sequence[Document]:
        """Keep the contents and return where they are; repeat until it succeeds.

        Meanwhile their item stays open: never booked without its label. What a crash leaves behind
        is a file that nobody knows of.
        """
        return await asyncio.gather(*(self._file_one(one) for one in documents))

    async def _file_one(self, document: Document) -> Document:
        if self._files is None:
            return document
        document_id, failures = new_id(), 0
        while True:
            try:
                async with self._gate:
                    location = await self._files.keep(
                        document.content, document_id=document_id, suffix=document.format
                    )
            except StoreError as error:
                pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                failures += 1
                log.warning("document.unstored", error=error.message, failures=failures)
                await asyncio.sleep(pause)
            else:
                return replace(document, content=b"", location=location)
