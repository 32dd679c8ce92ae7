"""Uploads for tests: a list goes in, its batch comes out."""

from uuid import UUID, uuid4

from batchyard.intake.columns import Columns
from batchyard.intake.options import IntakeOptions, UploadReport
from batchyard.models import Kind, Team
from batchyard.operations.imports import (
    BatchSettings,
    CallSettings,
    FileImport,
    ShipmentSettings,
    import_file,
)
from batchyard.operations.joins import add_rows
from batchyard.store.db import Database

CALLS = IntakeOptions(columns=Columns(kind=Kind.CALL))
SHIPMENTS = IntakeOptions(columns=Columns(kind=Kind.SHIPMENT))

SHIPMENT_HEADER = (
    "reference,currency,carrier,service,name,address,zip,city,country,phone,weight,"
    "parcels.0.items.0.description,parcels.0.items.0.quantity"
)


def shipment_row(number: int = 1, **changes: str) -> str:
    """Return a good row, or one with some cells changed."""
    cells = {
        "reference": f"R-{number}",
        "currency": "DKK",
        "carrier": "postnord",
        "service": "home",
        "name": "Bo Ek",
        "address": "Vej 1",
        "zip": "1234",
        "city": "By",
        "country": "DK",
        "phone": "+4520123456",
        "weight": "500",
        "description": "Mug",
        "quantity": "1",
    } | changes
    return ",".join(cells.values())


def settings(kind: Kind, **given: object) -> BatchSettings:
    """Return what goes with an upload."""
    if kind is Kind.SHIPMENT:
        return ShipmentSettings(file_name="list", **given)  # type: ignore[arg-type]  # of the test
    return CallSettings(
        agent_id=uuid4(),
        creates_agent=True,
        file_name="list",
        **given,  # type: ignore[arg-type]  # of the test
    )


async def upload(
    db: Database,
    content: bytes,
    *,
    team: Team,
    options: IntakeOptions = CALLS,
    size: int = 100_000,
    **given: object,
) -> FileImport:
    """Make a batch of a file."""
    async with import_file(db, team=team, options=options) as importing:
        for start in range(0, len(content), size):
            await importing.feed(content[start : start + size])
        await importing.finish_file()
        await importing.open(settings(options.kind, **given))
    return importing


async def add(
    db: Database,
    content: bytes,
    *,
    team: Team,
    batch_id: UUID,
    options: IntakeOptions = CALLS,
) -> UploadReport:
    """Add a file to a batch."""
    async with add_rows(db, team=team, batch_id=batch_id, options=options) as importing:
        await importing.feed(content)
        await importing.finish_file()
        return await importing.join(file_name="more")


async def rows_of(db: Database, statement: str, *args: object) -> list[tuple[object, ...]]:
    """Return the rows of a query."""
    async with db.pool.connection() as conn:
        return await (await conn.execute(statement.encode(), args)).fetchall()


async def check_books(db: Database) -> None:
    """Fail unless total = items + refused in every batch, and the counts are those of the rows."""
    assert (
        await rows_of(
            db,
            "SELECT b.id FROM batches b WHERE b.total_rows <> b.refused_rows"
            " + (SELECT count(*) FROM items i WHERE i.batch_id = b.id)",
        )
        == []
    )
    assert (
        await rows_of(
            db,
            "SELECT b.id FROM batches b WHERE b.refused_rows <> (SELECT count(*) FROM"
            " rejected_rows r WHERE r.batch_id = b.id AND r.item_id IS NULL)",
        )
        == []
    )
    kept = "SELECT batch_id, phase, status, n FROM batch_counts WHERE n <> 0 ORDER BY 1, 2, 3"
    real = "SELECT batch_id, phase, status, count(*) FROM items GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    assert await rows_of(db, kept) == await rows_of(db, real)
