"""Every place that may hold a person: how they are found there, what is shown, what is taken out.

The export and the erasure are both made of this, so that neither knows of a place the other does
not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from batchyard.store.taken_out import ERASED

OF_ITEM = "t.item_id = ANY (%(ids)s)"
OF_LINE = """(t.batch_id, t.line) IN (
    SELECT d.batch_id, d.position FROM item_data d WHERE d.item_id = ANY (%(ids)s))"""
OF_BOOKING = """(t.team_id, t.key) IN (
    SELECT k.team_id, k.key FROM bookings k WHERE k.item_id = ANY (%(ids)s))"""
# Bytes need not be a text: `escape` shows what is no ASCII as octal numbers, and doubles a
# backslash. To whoever looks for a number both are something between two digits.
BODY = r"""regexp_replace(encode(t.body, 'escape'),
                       '(\\[0-7]{3}|\\\\[tnrf])+', ' ', 'g')"""


AN_ID = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"


def names(text: str) -> str:
    """Return the condition that a text, written as in JSON, names the person, or one of the items.

    The ids in it are picked out and compared: a pattern of 500 ids takes a second for 1000 rows.
    """
    return f"""({text} ~* %(pattern)s
        OR %(ids)s::uuid[] <> '{{}}'
       AND EXISTS (SELECT FROM regexp_matches({text}, '{AN_ID}', 'gi') AS m (found)
                    WHERE m.found[1]::uuid = ANY (%(ids)s)))"""


def names_in(column: str) -> str:
    """Return the condition that what a column says names the person, or one of the items."""
    return names(f"to_jsonb({column})::text")


class Owner(StrEnum):
    """The column that tells whose a row is: a team's rows are all that such owners have."""

    TEAM = "team_id"
    BATCH = "batch_id"
    UPLOAD = "upload_id"
    ITEM = "item_id"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One place; `t` is its table in every condition."""

    name: str
    table: str
    owner: Owner
    place: Mapping[str, str]
    """Columns, and their types, in whose order the rows of an owner are walked through; behind the
    owner they are those of an index."""
    has_null_places: bool = False
    about: str | None = None
    """What makes a row one about the person; None: it goes with its item."""
    of_item: str | None = None
    """What makes a row one of an item; None: of none, except by naming it."""
    by_item: str | None = None
    """What finds the rows of items along an index, while the items are as they were; None: nothing
    is written there about an item under way, so the walk has found it."""
    shown: str = "to_jsonb(t)"
    erasing: str | None = None
    """What takes the person out, up to its condition; None: not by a statement of its own.

    The kinds of an erased row stay, so that every count does.
    """
    then: str = ""
    """What the statement that erases has behind its condition."""
    erased: str = "false"
    """What tells that this was done to a row of an item."""

    @property
    def order(self) -> str:
        """The columns of its place."""
        return ", ".join(f"t.{name}" for name in self.place)

    @property
    def found(self) -> str:
        """The condition on its rows that are about a person, or of their items."""
        told = " OR ".join(part for part in (self.about, self.of_item) if part is not None)
        return f"({told})" if told else "true"


LINES = Source(
    name="lines",
    table="item_data",
    owner=Owner.BATCH,
    place={"position": "integer", "item_id": "uuid"},
    about=f"""t.payload <> '{ERASED}' AND (t.number = %(number)s
        OR concat_ws(' ', t.number, to_jsonb(t.reference), t.payload, t.result, t.attempts,
                     t.corrections, to_jsonb(t.error_code), to_jsonb(t.error_message))
            ~* %(pattern)s)""",
    shown="t.item_id",
)
"""Where the items about a person are found. What names these is about the person too."""

DO_NOT_CONTACT = Source(
    name="do_not_contact",
    table="do_not_contact",
    owner=Owner.TEAM,
    place={"number": "text"},
    about="t.number = %(number)s",
    erasing="DELETE FROM do_not_contact AS t",
)

STAGED_ROWS = Source(
    name="staged_rows",
    table="staged_mends",
    owner=Owner.UPLOAD,
    place={"line": "integer"},
    about=names("concat_ws(' ', t.number, to_jsonb(t.reference), t.payload)"),
    erasing="DELETE FROM staged_mends AS t",
)
"""What is to take the place of an item's payload: so it goes before the items are looked for."""

SOURCES = (
    Source(
        name="items",
        table="item_data",
        owner=Owner.ITEM,
        place={"item_id": "uuid"},
    ),
    Source(
        name="documents",
        table="documents",
        owner=Owner.ITEM,
        place={"id": "uuid"},
        by_item=OF_ITEM,
        shown="to_jsonb(t) - 'content'",
        erasing="DELETE FROM documents AS t",
    ),
    Source(
        name="number_claims",
        table="number_claims",
        owner=Owner.ITEM,
        place={"number": "text", "from_number": "text", "provider_id": "integer"},
        by_item=OF_ITEM,
        erasing="DELETE FROM number_claims AS t",
    ),
    Source(
        name="refused_rows",
        table="rejected_rows",
        owner=Owner.BATCH,
        place={"line": "integer"},
        about=names("concat_ws(' ', to_jsonb(t.reason), t.cells)"),
        erasing=f"""UPDATE rejected_rows AS t
            SET reason = 'erased',
                cells = CASE jsonb_typeof(cells) WHEN 'array' THEN '[]'
                             ELSE '{ERASED}'::jsonb END""",
    ),
    Source(
        name="warnings",
        table="row_warnings",
        owner=Owner.BATCH,
        place={"line": "integer"},
        has_null_places=True,
        about=names_in("t.reason"),
        of_item=OF_LINE,
        by_item=OF_LINE,
        erasing="UPDATE row_warnings AS t SET reason = 'erased'",
        erased="t.reason = 'erased'",
    ),
    Source(
        name="batches",
        table="batches",
        owner=Owner.TEAM,
        place={"id": "uuid"},
        about=names("jsonb_build_array(t.reference, t.identifier, t.file_name)::text"),
        shown="""jsonb_build_object('id', t.id, 'reference', t.reference,
                                    'identifier', t.identifier, 'file_name', t.file_name,
                                    'created_at', t.created_at)""",
        erasing=f"""UPDATE batches AS t
            SET reference = CASE WHEN NOT {names_in("reference")} THEN reference END,
                identifier = CASE WHEN NOT {names_in("identifier")} THEN identifier END,
                file_name = CASE WHEN NOT {names_in("file_name")} THEN file_name END""",
    ),
    Source(
        name="uploads",
        table="uploads",
        owner=Owner.TEAM,
        place={"created_at": "timestamptz", "id": "uuid"},
        about=names_in("t.file_name"),
        shown="""jsonb_build_object('id', t.id, 'batch_id', t.batch_id,
                                    'file_name', t.file_name, 'created_at', t.created_at)""",
        erasing="UPDATE uploads AS t SET file_name = NULL",
    ),
    STAGED_ROWS,
    Source(
        name="webhook_deliveries",
        table="webhook_deliveries",
        owner=Owner.TEAM,
        place={"created_at": "timestamptz", "id": "uuid"},
        about=names("t.data::text"),
        of_item=OF_ITEM,
        # Of an item only those are told who listen to its agent or to its team.
        by_item="""(t.endpoint_id, t.subject) IN (
            SELECT e.id, i.id
              FROM items i
              JOIN batches b ON b.id = i.batch_id
              JOIN webhook_endpoints e ON e.team_id = b.team_id AND e.batch_id IS NULL
                                      AND (e.agent_id IS NULL OR e.agent_id = b.agent_id)
             WHERE i.id = ANY (%(ids)s))""",
        # The number counts on, and what was told once is not told again: so the row stays.
        erasing="""UPDATE webhook_deliveries AS t
            SET data = '{}',
                state = CASE WHEN ended_at IS NULL THEN 'dropped' ELSE state END,
                ended_at = coalesce(ended_at, %(now)s)""",
        erased="t.data = '{}' AND t.ended_at IS NOT NULL",
    ),
    Source(
        name="idempotency_keys",
        table="idempotency",
        owner=Owner.TEAM,
        place={"key": "text"},
        # A date in a key is the digits of somebody's number without the country's code.
        about="to_jsonb(t.key)::text ~* %(certain)s",
        shown="jsonb_build_object('key', t.key, 'created_at', t.created_at)",
        # By another key nobody would find it again: so the row goes, whoever works on it.
        erasing="DELETE FROM idempotency AS t",
    ),
    Source(
        name="idempotency_bodies",
        table="idempotency",
        owner=Owner.TEAM,
        place={"key": "text"},
        about=names(BODY),
        of_item=OF_BOOKING,
        by_item=OF_BOOKING,
        shown="""jsonb_build_object('key', t.key, 'created_at', t.created_at,
                                    'body', encode(t.body, 'escape'))""",
        erasing=f"UPDATE idempotency AS t SET body = '{ERASED}'",
        # While somebody works on it there is no body, and there must be none.
        erased=f"coalesce(t.body = '{ERASED}', true)",
    ),
    Source(
        name="bookings",
        table="bookings",
        owner=Owner.ITEM,
        place={"id": "uuid"},
        by_item=OF_ITEM,
        erasing="UPDATE bookings AS t SET key = NULL",
        erased="t.key IS NULL",
    ),
    Source(
        name="contact_attempts",
        table="contact_attempts",
        owner=Owner.TEAM,
        place={"number": "text", "item_id": "uuid", "try": "smallint"},
        about="t.number = %(number)s",
        of_item=OF_ITEM,
        by_item="""(t.team_id, t.number, t.item_id) IN (
            SELECT i.team_id, d.number, i.id FROM items i JOIN item_data d ON d.item_id = i.id
             WHERE i.id = ANY (%(ids)s))""",
        erasing="DELETE FROM contact_attempts AS t",
    ),
    Source(
        name="events",
        table="events",
        owner=Owner.TEAM,
        place={"xid": "xid8", "id": "bigint"},
        about=names("t.data::text"),
        of_item=OF_ITEM,
        shown="to_jsonb(t) - 'xid'",
        erasing="UPDATE events AS t SET data = '{}'",
        erased="t.data = '{}'",
    ),
    Source(
        name="failure_reasons",
        table="failure_tallies",
        owner=Owner.TEAM,
        place={"at": "timestamptz", "reason": "text"},
        about=names_in("t.reason"),
        # Several reasons of one time become the same: they are counted together.
        erasing="WITH gone AS (DELETE FROM failure_tallies AS t",
        then="""RETURNING t.team_id, t.at, t.n), kept AS (
            INSERT INTO failure_tallies AS k (team_id, at, reason, n)
            SELECT team_id, at, 'erased', sum(n) FROM gone GROUP BY team_id, at
            ON CONFLICT (team_id, at, reason) DO UPDATE SET n = k.n + excluded.n)
            SELECT FROM gone""",
    ),
    Source(
        name="audit_entries",
        table="audit_log",
        owner=Owner.TEAM,
        place={"id": "bigint"},
        about=names("concat_ws(' ', to_jsonb(t.subject), t.before, t.after)"),
        erasing=f"""UPDATE audit_log AS t
            SET before = CASE WHEN before IS NOT NULL THEN '{ERASED}'::jsonb END,
                after = CASE WHEN after IS NOT NULL THEN '{ERASED}'::jsonb END,
                subject = CASE WHEN NOT {names_in("subject")} THEN subject END""",
    ),
    Source(
        name="do_not_contact_reasons",
        table="do_not_contact",
        owner=Owner.TEAM,
        place={"number": "text"},
        about=names_in("t.reason"),
        # Whoever is named there is not who must not be called: the number stays on the list.
        erasing="UPDATE do_not_contact AS t SET reason = NULL",
    ),
    DO_NOT_CONTACT,
)
"""In the order in which the export tells them, and they are erased.

A batch that ends tells its name to a webhook, to an event and to an answer: so batches and uploads
come before those. By its booking an answer is found: so bookings come after those.
"""
