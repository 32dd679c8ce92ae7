"""Every row and every shipment of a batch has a line of its own, however it came."""

from batchyard.operations.shipments import add_shipments
from batchyard.store.db import Database
from tests.factories import make_team
from tests.operations.lists import (
    SHIPMENT_HEADER,
    SHIPMENTS,
    add,
    check_books,
    rows_of,
    shipment_row,
    upload,
)


async def test_shipments_added_singly_take_no_line_of_a_file(db: Database) -> None:
    team = await make_team(db)
    # The header and the blank line are lines as well, so the file has more lines than rows.
    lines = [SHIPMENT_HEADER, shipment_row(2), "", shipment_row(4, weight="x"), shipment_row(5)]
    content = "\n".join(lines).encode()
    batch_id = (await upload(db, content, team=team, options=SHIPMENTS)).batch_id

    for reference in ("R-6", "R-7"):
        await add_shipments(db, team=team, batch_id=batch_id, shipments=[{"reference": reference}])
    more = "\n".join([SHIPMENT_HEADER, shipment_row(9)]).encode()
    await add(db, more, team=team, batch_id=batch_id, options=SHIPMENTS)
    await add_shipments(db, team=team, batch_id=batch_id, shipments=[{"reference": "R-10"}])

    assert await rows_of(
        db, "SELECT position, reference FROM item_data ORDER BY position, reference"
    ) == [(place, f"R-{place}") for place in (2, 5, 6, 7, 9, 10)]
    assert await rows_of(db, "SELECT line FROM rejected_rows") == [(4,)]
    await check_books(db)
