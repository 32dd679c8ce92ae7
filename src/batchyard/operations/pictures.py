"""Pictures of documents, so that any browser can show a label on any screen."""

import asyncio
import sys

from batchyard.errors import NotFound

AT_ONCE = asyncio.Semaphore(2)
PATIENCE_SECONDS = 15.0


async def draw_page(pdf: bytes) -> bytes:
    """Return the first page of a PDF as a PNG; raise `NotFound` where it cannot be drawn.

    A process of its own draws it: a file made to hurt hurts nothing else.
    """
    async with AT_ONCE:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "batchyard.page_picture",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                picture, _ = await process.communicate(pdf)
        except TimeoutError as error:
            raise NotFound("The document cannot be shown as a picture.") from error
        finally:
            if process.returncode is None:
                process.kill()
    if process.returncode != 0:
        raise NotFound("The document cannot be shown as a picture.")
    return picture
