"""Staged rows that come too late: what they were to mend was dealt with since they were checked.

Every statement here belongs to a transaction that holds the lock on the batch they join.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from batchyard.store.db import Connection
from batchyard.store.joins import Joining
from batchyard.store.taken_out import TAKEN_OUT


@dataclass(frozen=True, kw_only=True, slots=True)
class Late:
    """How many rows came too late."""

    mends: int = 0
    """They name a row that is not refused any more, or that an earlier row of the file mends."""
    corrections: int = 0
    """They name an item that did not fail, or not any more, or whose content was taken out."""

    def __add__(self, other: "Late") -> "Late":
        return Late(
            mends=self.mends + other.mends, corrections=self.corrections + other.corrections
        )


# Of the whole file, however many blocks it joins in. The mark says that they are counted as
# refused; where its block joins, the item of such a row goes and a remark is left. By their places,
# so that no plan compares every row of a large file with every other.
MARK_MENDS = """
UPDATE staged_mends SET is_refused = true
 WHERE ctid = ANY (ARRAY(
       SELECT seen.ctid
         FROM (SELECT s.ctid,
                      row_number() OVER (PARTITION BY s.error_line ORDER BY s.line) AS nth,
                      EXISTS (SELECT FROM rejected_rows r
                               WHERE r.batch_id = %(batch_id)s AND r.line = s.error_line) AS is_open
                 FROM staged_mends s
                WHERE s.upload_id = %(upload_id)s AND s.error_line IS NOT NULL
                  AND NOT s.is_refused) AS seen
        WHERE seen.nth > 1 OR NOT seen.is_open))
"""

# These have no item of their own, so all is said of them at once.
MARK_CORRECTIONS = f"""
WITH late AS (
    UPDATE staged_mends m SET is_refused = true
     WHERE m.upload_id = %(upload_id)s AND m.item_id IS NOT NULL AND NOT m.is_refused
       AND NOT EXISTS (SELECT FROM items i
                        WHERE i.id = m.item_id AND i.batch_id = %(batch_id)s
                          AND i.phase = 'done' AND i.status = ANY (%(statuses)s)
                          AND (SELECT d.payload FROM item_data d
                                WHERE d.item_id = i.id) NOT IN {TAKEN_OUT})
    RETURNING m.line
)
INSERT INTO row_warnings (batch_id, line, code, reason)
SELECT %(batch_id)s, %(first_line)s + line, %(missed_code)s, %(missed_reason)s FROM late
"""


async def mark(
    conn: Connection, joining: Joining, *, statuses: Sequence[str], missed: tuple[str, str]
) -> Late:
    """Mark the rows of a file that come too late, and return how many.

    `missed` is the code and the sentence for those whose item has none of these statuses, or
    nothing left to send.
    """
    places = {"upload_id": joining.upload_id, "batch_id": joining.batch_id}
    mends = await conn.execute(MARK_MENDS, places)
    corrections = await conn.execute(
        MARK_CORRECTIONS,
        {
            **places,
            "first_line": joining.first_line,
            "statuses": list(statuses),
            "missed_code": missed[0],
            "missed_reason": missed[1],
        },
    )
    return Late(mends=mends.rowcount, corrections=corrections.rowcount)


TAKE_BACK = """
UPDATE uploads
   SET accepted = accepted - %(mends)s, corrected = corrected - %(corrections)s,
       refused = refused + %(mends)s + %(corrections)s,
       codes = codes || jsonb_strip_nulls(jsonb_build_object(
           %(mend_code)s::text,
           nullif(coalesce((codes ->> %(mend_code)s::text)::int, 0) + %(mends)s, 0),
           %(correction_code)s::text,
           nullif(coalesce((codes ->> %(correction_code)s::text)::int, 0) + %(corrections)s, 0)))
 WHERE id = %(upload_id)s
"""


async def take_back(
    conn: Connection, joining: Joining, late: Late, *, codes: tuple[str, str]
) -> None:
    """Count rows of a file as refused that were counted as taken.

    `codes` are those of mends and of corrections.
    """
    mend_code, correction_code = codes
    await conn.execute(
        TAKE_BACK,
        {
            "upload_id": joining.upload_id,
            "mends": late.mends,
            "corrections": late.corrections,
            "mend_code": mend_code,
            "correction_code": correction_code,
        },
    )
