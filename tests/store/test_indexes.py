"""Lists that are narrowed are read from an index; an expression is the index's very own."""

from collections.abc import Mapping

import pytest

from batchyard.api.operator import item_queries
from batchyard.dashboard import row_queries
from batchyard.store import control, deletions, privacy, row_reports, stretches, uploads, webhooks
from batchyard.store.db import Database
from batchyard.store.ids import new_id
from batchyard.store.item_filters import ItemFilters
from batchyard.store.person_sources import LINES, SOURCES, Owner, Source
from batchyard.store.stretches import Stretch

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


async def test_what_was_stopped_or_cancelled_is_found_without_all_other_batches(
    db: Database,
) -> None:
    assert "batches_broken_off" in await plan(db, control.ENDED_WITH_READY, {})


async def test_batches_of_a_list_of_items_are_found_in_order(db: Database) -> None:
    values = {"team_id": 1, "statuses": ["failed"], "behind": BATCH, "batches": 200}
    found = await plan(db, item_queries.FIND_BATCHES, values)
    assert "batches_of_team" in found
    assert "Sort" not in found


async def test_very_same_file_is_found_by_its_content(db: Database) -> None:
    values = {"team_id": 1, "sha256": b"", "id": BATCH, "since": db.clock()}
    assert "uploads_read_by_content" in await plan(db, uploads.FIND_SAME, values)


async def test_deliveries_of_a_batch_that_is_purged_are_found_by_it(db: Database) -> None:
    found = await plan(db, deletions.PURGE_DELIVERIES, {"id": BATCH, "limit": 2000})
    assert "webhook_deliveries_of_batch" in found


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


WALKED = {
    "lines": "item_data_of_batch",
    "items": "item_data_pkey",
    "documents": "documents_of_item",
    "bookings": "bookings_of_item",
    "number_claims": "number_claims_of_item",
    "refused_rows": "rejected_rows_pkey",
    "warnings": "row_warnings_of_batch",
    "webhook_deliveries": "webhook_deliveries_of_team",
    "idempotency_keys": "idempotency_pkey",
    "idempotency_bodies": "idempotency_pkey",
    "failure_reasons": "failure_tallies_pkey",
    "staged_rows": "staged_mends_pkey",
    "contact_attempts": "contact_attempts_pkey",
    "events": "events_of_team",
    "batches": "batches_all_of_team",
    "uploads": "uploads_of_team",
    "audit_entries": "audit_log_of_team",
    "do_not_contact_reasons": "do_not_contact_pkey",
    "do_not_contact": "do_not_contact_pkey",
}
A_PLACE = {"uuid": str(BATCH), "timestamptz": "2026-01-01 00:00:00+00"}


@pytest.mark.parametrize("source", [LINES, *SOURCES], ids=lambda source: source.name)
async def test_walk_for_a_person_goes_along_an_index(db: Database, source: Source) -> None:
    owner = 1 if source.owner is Owner.TEAM else BATCH
    place = [A_PLACE.get(type_, "1") for type_ in source.place.values()]
    some = Stretch(source=source, owners=[owner], after=place, until=place)
    within = await plan(db, f"SELECT t FROM {source.table} t WHERE {some.within}", some.values)
    [compared] = [line for line in within.splitlines() if "Index Cond" in line]
    assert source.owner in compared
    assert next(iter(source.place)) in compared or source.owner is Owner.ITEM
    rest = Stretch(source=source, owners=[owner], after=place)
    several = Stretch(source=source, owners=[BATCH, new_id()])
    asked = {Owner.TEAM: [rest], Owner.ITEM: [several]}.get(source.owner, [rest, several])
    for stretch in asked:
        statement = stretches.last_statement(stretch)
        found = await plan(db, statement, {**stretch.values, "others": 1999})
        assert f"using {WALKED[source.name]} " in found
        # Only what the index does not have in its order.
        assert found.count("Sort  (") == found.count("Incremental Sort  (")


@pytest.mark.parametrize(
    "name,index",
    [
        ("warnings", "row_warnings_of_batch"),
        ("webhook_deliveries", "webhook_deliveries_in_order"),
        ("idempotency_bodies", "idempotency_pkey"),
        ("contact_attempts", "contact_attempts_pkey"),
    ],
)
async def test_what_goes_with_an_item_is_found_by_an_index(
    db: Database, name: str, index: str
) -> None:
    [source] = [one for one in SOURCES if one.name == name]
    values = {"ids": [BATCH], "now": db.clock()}
    assert f"using {index} " in await plan(
        db, f"SELECT FROM {source.table} t WHERE {source.by_item}", values
    )


async def test_all_batches_of_a_team_are_found_in_order(db: Database) -> None:
    values = {"team_id": 1, "after": BATCH, "limit": 500}
    found = await plan(db, privacy.LIST_BATCHES, values)
    assert "batches_all_of_team" in found
    assert "Sort" not in found


async def test_batches_that_join_another_are_found_in_order(db: Database) -> None:
    """However many batches the team has that join none."""
    found = await plan(db, privacy.LIST_JOINING, {"team_id": 1, "after": BATCH, "limit": 500})
    assert "uploads_joining" in found
    assert "Sort" not in found
