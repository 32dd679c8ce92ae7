"""Lists that are narrowed are read from an index; an expression is the index's very own."""

from collections.abc import Mapping

import pytest

from batchyard.api.operator import item_queries
from batchyard.dashboard import row_queries
from batchyard.store import row_reports, uploads, webhooks
from batchyard.store.db import Database
from batchyard.store.ids import new_id
from batchyard.store.item_filters import ItemFilters

BATCH = new_id()


async def plan(db: Database, statement: str, values: Mapping[str, object]) -> str:
    """Return how a statement would be done if nothing could be read whole or sorted."""
    async with db.transaction() as conn:
        for setting in ("seqscan", "sort", "bitmapscan"):
            await conn.execute(f"SET LOCAL enable_{setting} = off".encode())
        cursor = await conn.execute(f"EXPLAIN {statement}".encode(), values, prepare=False)
        return "\n".join(str(row[0]) for row in await cursor.fetchall())


@pytest.mark.parametrize(
    "filters,index",
    [
        (ItemFilters(number="+45"), "item_data_by_number"),
        (ItemFilters(reference="R-"), "item_data_by_reference"),
    ],
)
async def test_what_narrows_a_list_is_what_an_index_holds(
    db: Database, filters: ItemFilters, index: str
) -> None:
    statement = f"SELECT d.item_id FROM item_data d WHERE true{filters.where}"
    assert index in await plan(db, statement, filters.values)


@pytest.mark.parametrize(
    "filters,index",
    [
        (ItemFilters(error_code="reset"), "item_data_by_error"),
        (ItemFilters(statuses=["failed"]), "items_ended"),
    ],
)
async def test_items_are_found_batch_by_batch(
    db: Database, filters: ItemFilters, index: str
) -> None:
    values = filters.values | {"team_id": 1, "batch_ids": [BATCH], "limit": 51}
    assert index in await plan(db, item_queries.items_statement(filters, values), values)


async def test_batches_of_a_list_of_items_are_found_in_order(db: Database) -> None:
    values = {"team_id": 1, "statuses": ["failed"], "behind": BATCH, "batches": 200}
    found = await plan(db, item_queries.FIND_BATCHES, values)
    assert "batches_of_team" in found
    assert "Sort" not in found


async def test_very_same_file_is_found_by_its_content(db: Database) -> None:
    values = {"team_id": 1, "sha256": b"", "id": BATCH, "since": db.clock()}
    assert "uploads_read_by_content" in await plan(db, uploads.FIND_SAME, values)


async def test_refused_rows_of_a_code_and_deliveries_in_a_state_are_found_by_an_index(
    db: Database,
) -> None:
    rows = {"batch_id": BATCH, "team_id": 1, "code": "x", "limit": 51}
    shown = row_queries.LIST_REFUSED.format(compares=">", direction="ASC")
    for statement, values in (
        (shown, {**rows, "from_line": 7}),
        (row_reports.LIST_REFUSED, {**rows, "after": 7}),
    ):
        found = await plan(db, statement, values)
        assert "rejected_rows_by_code" in found
        assert "Sort" not in found
    found = await plan(
        db,
        webhooks.LIST_LOG,
        {
            "team_id": 1,
            "state": "failed",
            "batch_id": None,
            "endpoint_id": None,
            "after_at": None,
            "after_number": None,
            "after_id": None,
            "limit": 51,
        },
    )
    assert "webhook_deliveries_by_state" in found
    assert "Sort" not in found
