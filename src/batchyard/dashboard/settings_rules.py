"""The rules of the team: on which days, whom, and how often it calls; on the page of its limits."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from batchyard.contact_rules import MAX_ATTEMPTS, TeamRules
from batchyard.dashboard.forms import Fields, read_fields
from batchyard.dashboard.frame import go_to
from batchyard.dashboard.settings_limits import RULES, limits_page
from batchyard.dashboard.visitors import Visitor, needs
from batchyard.errors import InvalidRequest
from batchyard.operations import contacts
from batchyard.operations.audit import note
from batchyard.store.db import Connection
from batchyard.windows import EVERY_DAY

LONGEST_HOLIDAYS = 20_000
FAULTS: Mapping[str, str] = {
    "days": "Choose at least one day.",
    "holidays": "Enter dates such as 2026-12-24, at most 1000, commas between them.",
    "fallback_zone": "Enter a time zone such as Europe/Copenhagen.",
    "countries": "Enter codes of countries such as DK, SE.",
}
FIELDS: Mapping[str, str] = {"refuses_premium": "premium"}
"""Fields of the form that are not called as their rules are."""

router = APIRouter(prefix="/settings/rules")


@router.post("")
async def change_rules(
    request: Request, visitor: Annotated[Visitor, Depends(needs("contacts"))]
) -> Response:
    """Change when and whom the team calls."""
    fields = await read_fields(request)
    try:
        given = _read_rules(fields)
        fields.check()
        await contacts.set_rules(
            visitor.db,
            team=visitor.team,
            # What was not changed stays as it is by now, whoever changed it meanwhile.
            change=lambda held: replace(held, **given),  # type: ignore[arg-type]  # as read below
            seal=_seal(visitor),
        )
    except InvalidRequest as error:
        told = {name: fields.faults.get(name, [FAULTS.get(name, "")]) for name in error.faults}
        return await limits_page(request, visitor, typed={RULES: fields}, faults=told, status=422)
    notice = visitor.voice.say("The rules are set; they hold for all that was not sent yet.")
    return go_to("/settings/limits", visitor.config, notice=notice)


def _seal(visitor: Visitor) -> contacts.Seal:
    async def seal(conn: Connection, old: TeamRules, new: TeamRules) -> None:
        await note(
            conn,
            team=visitor.team,
            actor=visitor.actor,
            action="rules.change",
            before=contacts.facts_of(old),
            after=contacts.facts_of(new),
            now=visitor.db.clock(),
        )

    return seal


def _read_rules(fields: Fields) -> dict[str, object]:
    """Read what differs in the form from what it showed, by the names of the rules."""
    days = frozenset(day for day in EVERY_DAY if str(day) in fields.texts("days"))
    if not days:
        fields.fault("days", FAULTS["days"])
    given: dict[str, object] = {
        "days": days,
        "holidays": _read_dates(fields),
        "fallback_zone": fields.text("fallback_zone", longest=100) or None,
        "attempts_per_day": fields.whole("attempts_per_day", least=1, most=MAX_ATTEMPTS),
        "attempts_per_week": fields.whole("attempts_per_week", least=1, most=MAX_ATTEMPTS),
        "countries": frozenset(_parts(fields.text("countries"))) or None,
        "refuses_premium": not fields.flag("premium"),
    }
    return {rule: value for rule, value in given.items() if _is_changed(fields, rule)}


def _is_changed(fields: Fields, rule: str) -> bool:
    name = FIELDS.get(rule, rule)
    shown = fields.texts(f"was_{name}")
    # A form that does not say what it showed means all of it; a box that is not ticked is not sent.
    return not shown or (fields.texts(name) or [""]) != shown


def _read_dates(fields: Fields) -> frozenset[date]:
    try:
        parts = _parts(fields.text("holidays", longest=LONGEST_HOLIDAYS))
        return frozenset(date.fromisoformat(part) for part in parts)
    except ValueError:
        fields.fault("holidays", FAULTS["holidays"])
        return frozenset()


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
