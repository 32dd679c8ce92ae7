"""Every place that may hold a person: how they are found there, what is shown, what is taken out.

The export and the erasure are both made of this, so that neither knows of a place the other does
not.
"""

from dataclasses import dataclass

ERASED = '{"erased": true}'
OF_BATCH = "t.batch_id IN (SELECT id FROM batches WHERE team_id = %(team_id)s)"
OF_TEAM = "t.team_id = %(team_id)s"
OF_ITEM = "t.item_id = ANY (%(ids)s)"
# Bytes need not be a text: `escape` shows what is no ASCII as octal numbers, and doubles a
# backslash. To whoever looks for a number both are something between two digits.
BODY = r"""regexp_replace(encode(t.body, 'escape'),
                       '(\\[0-7]{3}|\\\\[tnrf])+', ' ', 'g')"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One place; `t` is its table in every condition."""

    name: str
    table: str
    key: str
    """What tells its rows apart, as a text."""
    of_team: str = OF_TEAM
    about: str | None = None
    """What makes a row one about the person; None: it goes with an item only."""
    of_item: str | None = None
    """What makes a row one of an item; None: of none, except by naming it."""
    shown: str = "to_jsonb(t)"
    erasing: str | None = None
    """What takes the person out, up to its condition; None: not by a statement of its own.

    The kinds of an erased row stay, so that every count does.
    """

    @property
    def found(self) -> str:
        """The condition on its rows that are about a person, or of their items."""
        told = " OR ".join(part for part in (self.about, self.of_item) if part is not None)
        return f"{self.of_team} AND ({told})"


ITEMS = Source(
    name="items",
    table="item_data",
    key="t.item_id::text",
    of_team=OF_BATCH,
    of_item=OF_ITEM,
)
DO_NOT_CONTACT = Source(
    name="do_not_contact",
    table="do_not_contact",
    key="t.number",
    about="t.number = %(number)s",
    erasing="DELETE FROM do_not_contact AS t",
)

SOURCES = (
    ITEMS,
    Source(
        name="documents",
        table="documents",
        key="t.id::text",
        of_team="true",
        of_item=OF_ITEM,
        shown="to_jsonb(t) - 'content'",
    ),
    Source(
        name="bookings",
        table="bookings",
        key="t.id::text",
        of_item=OF_ITEM,
        erasing="UPDATE bookings AS t SET key = NULL",
    ),
    Source(
        name="number_claims",
        table="number_claims",
        key="t.item_id::text",
        of_team="true",
        of_item=OF_ITEM,
        erasing="DELETE FROM number_claims AS t",
    ),
    Source(
        name="refused_rows",
        table="rejected_rows",
        key="concat_ws(' ', t.batch_id, t.line)",
        of_team=OF_BATCH,
        about="concat_ws(' ', t.reason, t.cells) ~* %(pattern)s",
        erasing=f"""UPDATE rejected_rows AS t
            SET reason = 'erased',
                cells = CASE jsonb_typeof(cells) WHEN 'array' THEN '[]'
                             ELSE '{ERASED}'::jsonb END""",
    ),
    Source(
        name="warnings",
        table="row_warnings",
        key="concat_ws(' ', t.batch_id, t.ctid)",
        of_team=OF_BATCH,
        about="t.reason ~* %(pattern)s",
        of_item="""(t.batch_id, t.line) IN (
            SELECT d.batch_id, d.position FROM item_data d WHERE d.item_id = ANY (%(ids)s))""",
        erasing="UPDATE row_warnings AS t SET reason = 'erased'",
    ),
    Source(
        name="webhook_deliveries",
        table="webhook_deliveries",
        key="t.id::text",
        about="t.data::text ~* %(pattern)s",
        of_item=OF_ITEM,
        # The number counts on, and what was told once is not told again: so the row stays.
        erasing="""UPDATE webhook_deliveries AS t
            SET data = '{}',
                state = CASE WHEN ended_at IS NULL THEN 'dropped' ELSE state END,
                ended_at = coalesce(ended_at, %(now)s)""",
    ),
    Source(
        name="idempotency_bodies",
        table="idempotency",
        key="t.key",
        about=f"t.body IS NOT NULL AND {BODY} ~* %(pattern)s",
        shown="""jsonb_build_object('key', t.key, 'created_at', t.created_at,
                                    'body', encode(t.body, 'escape'))""",
        erasing=f"UPDATE idempotency AS t SET body = '{ERASED}'",
    ),
    Source(
        name="staged_rows",
        table="staged_mends",
        key="concat_ws(' ', t.upload_id, t.line)",
        of_team="t.upload_id IN (SELECT id FROM uploads WHERE team_id = %(team_id)s)",
        about="concat_ws(' ', t.number, t.reference, t.payload) ~* %(pattern)s",
        erasing="DELETE FROM staged_mends AS t",
    ),
    Source(
        name="contact_attempts",
        table="contact_attempts",
        key="concat_ws(' ', t.number, t.item_id, t.try)",
        about="t.number = %(number)s",
        of_item=OF_ITEM,
        erasing="DELETE FROM contact_attempts AS t",
    ),
    Source(
        name="events",
        table="events",
        key="t.id::text",
        about="t.data::text ~* %(pattern)s",
        of_item=OF_ITEM,
        shown="to_jsonb(t) - 'xid'",
        erasing="UPDATE events AS t SET data = '{}'",
    ),
    Source(
        name="batches",
        table="batches",
        key="t.id::text",
        about="concat_ws(' ', t.reference, t.identifier, t.file_name) ~* %(pattern)s",
        shown="""jsonb_build_object('id', t.id, 'reference', t.reference,
                                    'identifier', t.identifier, 'file_name', t.file_name,
                                    'created_at', t.created_at)""",
        erasing="""UPDATE batches AS t
            SET reference = CASE WHEN reference !~* %(pattern)s THEN reference END,
                identifier = CASE WHEN identifier !~* %(pattern)s THEN identifier END,
                file_name = CASE WHEN file_name !~* %(pattern)s THEN file_name END""",
    ),
    Source(
        name="uploads",
        table="uploads",
        key="t.id::text",
        about="t.file_name ~* %(pattern)s",
        shown="""jsonb_build_object('id', t.id, 'batch_id', t.batch_id,
                                    'file_name', t.file_name, 'created_at', t.created_at)""",
        erasing="UPDATE uploads AS t SET file_name = NULL",
    ),
    Source(
        name="audit_entries",
        table="audit_log",
        key="t.id::text",
        about="concat_ws(' ', t.subject, t.before, t.after) ~* %(pattern)s",
        erasing=f"""UPDATE audit_log AS t
            SET before = CASE WHEN before IS NOT NULL THEN '{ERASED}'::jsonb END,
                after = CASE WHEN after IS NOT NULL THEN '{ERASED}'::jsonb END,
                subject = CASE WHEN subject !~* %(pattern)s THEN subject END""",
    ),
    Source(
        name="do_not_contact_reasons",
        table="do_not_contact",
        key="t.number",
        about="t.reason ~* %(pattern)s",
        # Whoever is named there is not who must not be called: the number stays on the list.
        erasing="UPDATE do_not_contact AS t SET reason = NULL",
    ),
    DO_NOT_CONTACT,
)
"""In the order in which the export tells them."""
