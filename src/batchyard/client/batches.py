"""Calls about batches: lists into them, reading, steering, reports and results."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal
from uuid import UUID

from batchyard.client.lists import List, file_of
from batchyard.client.shapes import Batch, Item, RefusedRow, Rehearsal, Report, RowReport, Upload
from batchyard.client.transport import Download, Transport, Values, rows_of

ResultFile = Literal["results.csv", "results.ndjson", "rejected.csv", "labels.pdf", "evidence.zip"]
PAGE = 500


class BatchCalls(Transport):
    """Everything under `/batches`, and rehearsals."""

    async def create_batch(self, rows: List, *, key: str | None = None, **said: object) -> Report:
        """Make a batch of a list; what is said are the fields of `POST /batches`."""
        return Report.model_validate(await self._send("/batches", rows, said, key))

    async def add_rows(
        self, batch_id: UUID, rows: List, *, key: str | None = None, **said: object
    ) -> Report:
        """Add rows to a batch."""
        told = await self._send(f"/batches/{batch_id}/rows", rows, said, key)
        return Report.model_validate(told)

    async def mend(
        self, batch_id: UUID, rows: List, *, key: str | None = None, **said: object
    ) -> Report:
        """Send a corrected mend file back into its batch."""
        told = await self._send(f"/batches/{batch_id}/mend", rows, said, key)
        return Report.model_validate(told)

    async def uploads(self) -> list[Upload]:
        """Return the files that are coming in, or are joining their batch, the newest first."""
        page = await self.request("GET", "/uploads")
        return [Upload.model_validate(row) for row in rows_of(page)]

    def mend_file(self, batch_id: UUID, **said: object) -> AbstractAsyncContextManager[Download]:
        """Lend the rows that need a person; what is said are the parameters of `GET .../mend`."""
        return self.download(f"/batches/{batch_id}/mend", params=said)

    async def rehearse(self, rows: List, **said: object) -> Rehearsal:
        """Say what a list would do; what is said are the fields of `POST /rehearsals`."""
        return Rehearsal.model_validate(await self._send("/rehearsals", rows, said, None))

    async def rehearse_batch(self, batch_id: UUID, **said: object) -> Rehearsal:
        """Say what a batch that was not started would do."""
        told = await self.request("POST", f"/batches/{batch_id}/rehearsal", body=said)
        return Rehearsal.model_validate(told)

    async def batches(self, **filters: object) -> AsyncIterator[Batch]:
        """Yield batches, page by page; the filters are those of `GET /batches`."""
        async for row in self.pages("/batches", filters):
            yield Batch.model_validate(row)

    async def batch(self, batch_id: UUID) -> Batch:
        """Return a batch."""
        return Batch.model_validate(await self.request("GET", f"/batches/{batch_id}"))

    async def change_batch(self, batch_id: UUID, **changes: object) -> Batch:
        """Change what may be changed of a batch, by the fields of `PATCH /batches/{id}`."""
        shown = await self.request("PATCH", f"/batches/{batch_id}", body=changes)
        return Batch.model_validate(shown)

    async def steer(
        self,
        batch_id: UUID,
        action: Literal["dispatch", "pause", "resume", "stop"],
        *,
        key: str | None = None,
    ) -> Batch:
        """Dispatch, pause, resume or stop a batch."""
        shown = await self.request("POST", f"/batches/{batch_id}/{action}", key=key)
        return Batch.model_validate(shown)

    async def resume_restored(self) -> list[UUID]:
        """Let all batches go on that paused because of a restore; return which."""
        told = await self.request("POST", "/resume-restored")
        return [UUID(str(batch_id)) for batch_id in rows_of({"data": told["batches"]})]

    async def cancel_batch(self, batch_id: UUID) -> None:
        """Cancel a batch that was never started."""
        await self.request("POST", f"/batches/{batch_id}/cancel")

    async def delete_batch(self, batch_id: UUID) -> None:
        """Delete a batch."""
        await self.request("DELETE", f"/batches/{batch_id}")

    async def retry_failed(
        self,
        batch_id: UUID,
        *,
        statuses: Sequence[str] | None = None,
        item_ids: Sequence[UUID] | None = None,
        key: str | None = None,
    ) -> int:
        """Try failed items again under new keys, all or those chosen; return how many."""
        body: dict[str, object] = {}
        if statuses is not None:
            body["statuses"] = list(statuses)
        if item_ids is not None:
            body["item_ids"] = [str(item_id) for item_id in item_ids]
        told = await self.request("POST", f"/batches/{batch_id}/retry", body=body, key=key)
        return int(str(told["items"]))

    async def failures(self, batch_id: UUID, *, limit: int = 10) -> list[Item]:
        """Return what failed last in a batch, the latest first."""
        page = await self.request("GET", f"/batches/{batch_id}/failures", params={"limit": limit})
        return [Item.model_validate(row) for row in rows_of(page)]

    async def row_report(self, batch_id: UUID) -> RowReport:
        """Return what became of the rows of a batch."""
        path = f"/batches/{batch_id}/rows"
        return RowReport.model_validate(await self.request("GET", path, params={"limit": 1}))

    async def refused_rows(
        self, batch_id: UUID, *, code: str | None = None
    ) -> AsyncIterator[RefusedRow]:
        """Yield the refused rows of a batch by line, page by page."""
        after: object = 0
        while after is not None:
            page = await self.request(
                "GET",
                f"/batches/{batch_id}/rows",
                params={"code": code, "after_line": after, "limit": PAGE},
            )
            for row in rows_of(page):
                yield RefusedRow.model_validate(row)
            after = page.get("next_after_line")

    def results(self, batch_id: UUID, file: ResultFile) -> AbstractAsyncContextManager[Download]:
        """Lend a file of results as it comes in."""
        return self.download(f"/batches/{batch_id}/{file}")

    async def _send(
        self, path: str, rows: List, said: Values, key: str | None
    ) -> dict[str, object]:
        file = file_of(rows)
        if file is not None:
            return await self.request("POST", path, body=said, file=file, key=key)
        given = {name: value for name, value in said.items() if value is not None}
        body = json.loads(json.dumps({**given, "rows": rows}, default=str))
        return await self.request("POST", path, body=body, key=key)
