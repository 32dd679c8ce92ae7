"""Whom the team does not contact, and when it calls."""

from dataclasses import asdict, replace
from datetime import date, datetime
from typing import Annotated
from zoneinfo import available_timezones

from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, field_validator

from batchyard.api.operator.access import CONTACTS, Caller
from batchyard.api.operator.keyed import KeyedRoute
from batchyard.api.operator.places import NUMBER, read_place
from batchyard.api.operator.wire import Moment
from batchyard.contact_rules import MAX_ATTEMPTS, TeamRules
from batchyard.cursors import write_cursor
from batchyard.operations import contacts
from batchyard.store.db import Connection

router = APIRouter(prefix="/contacts", tags=["Contacts"], route_class=KeyedRoute)

Day = Annotated[int, Field(ge=1, le=7)]
Attempts = Annotated[int, Field(ge=1, le=MAX_ATTEMPTS)]


class NewEntry(BaseModel):
    """A number that is not contacted any more."""

    model_config = ConfigDict(extra="forbid")

    number: str = Field(min_length=1, max_length=40, examples=["+4520123456"])
    reason: str | None = Field(default=None, max_length=contacts.MAX_REASON_LENGTH)
    until: Moment | None = Field(default=None, description="for ever unless given")


class EntryShown(BaseModel):
    """A number of the do-not-contact list."""

    number: str
    reason: str | None
    until: datetime | None
    source: str
    created_at: datetime


class Entries(BaseModel):
    """A page of the do-not-contact list."""

    data: list[EntryShown]
    next_cursor: str | None


class Rules(BaseModel):
    """What the team has set; null is off."""

    fallback_zone: str | None
    days: list[int]
    holidays: list[date]
    attempts_per_day: int | None
    attempts_per_week: int | None
    countries: list[str] | None
    refuses_premium: bool


class RulesChange(BaseModel):
    """What is to be changed of the rules; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    fallback_zone: str | None = Field(default=None, max_length=100)
    days: frozenset[Day] = Field(default=frozenset(), min_length=1, description="1 is Monday")
    holidays: frozenset[date] = Field(default=frozenset(), max_length=contacts.MAX_HOLIDAYS)
    attempts_per_day: Attempts | None = None
    attempts_per_week: Attempts | None = None
    countries: frozenset[str] | None = Field(default=None, max_length=300)
    refuses_premium: bool = False

    @field_validator("fallback_zone")
    @classmethod
    def check_zone(cls, zone: str | None) -> str | None:
        """Refuse what is no zone."""
        if zone is not None and zone not in available_timezones():
            raise ValueError("is no time zone such as Europe/Copenhagen")
        return zone


@router.get("/do-not-contact")
async def list_do_not_contact(
    caller: Annotated[Caller, CONTACTS],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
) -> Entries:
    """List the numbers that are not contacted, in their order."""
    (after,) = read_place(cursor, NUMBER, length=1) or ("",)
    rows = await contacts.list_do_not_contact(
        caller.db, team=caller.team, after=after, limit=limit + 1
    )
    more = len(rows) > limit
    return Entries(
        data=[EntryShown.model_validate(asdict(row)) for row in rows[:limit]],
        next_cursor=write_cursor([rows[limit - 1].number]) if more else None,
    )


@router.post("/do-not-contact", status_code=201)
async def add_do_not_contact(caller: Annotated[Caller, CONTACTS], new: NewEntry) -> EntryShown:
    """Never contact a number again, also no item that waits; said again, it is replaced."""
    entry = await contacts.block_number(
        caller.work,
        team=caller.team,
        actor=caller.actor,
        number=new.number,
        reason=new.reason,
        until=new.until,
    )
    return EntryShown.model_validate(asdict(entry))


@router.delete("/do-not-contact/{number}", status_code=204)
async def remove_do_not_contact(
    caller: Annotated[Caller, CONTACTS], number: Annotated[str, Path(max_length=40)]
) -> Response:
    """Allow a number again; 404 when it is not on the list."""
    await contacts.allow_number(caller.work, team=caller.team, actor=caller.actor, number=number)
    return Response(status_code=204)


@router.get("/rules")
async def read_rules(caller: Annotated[Caller, CONTACTS]) -> Rules:
    """Return when and whom the team calls."""
    return _shown(await contacts.read_rules(caller.db, team=caller.team))


@router.patch("/rules")
async def change_rules(caller: Annotated[Caller, CONTACTS], change: RulesChange) -> Rules:
    """Change when and whom the team calls; effective for everything not sent yet."""
    given = {name: getattr(change, name) for name in change.model_fields_set}

    async def seal(conn: Connection, old: TeamRules, new: TeamRules) -> None:
        before, after = (
            _shown(rules).model_dump(mode="json", include=change.model_fields_set)
            for rules in (old, new)
        )
        await caller.note(conn, "rules.change", before=before, after=after)

    rules = await contacts.set_rules(
        caller.db, team=caller.team, change=lambda old: replace(old, **given), seal=seal
    )
    return _shown(rules)


def _shown(rules: TeamRules) -> Rules:
    return Rules(
        fallback_zone=rules.fallback_zone,
        days=sorted(rules.days),
        holidays=sorted(rules.holidays),
        attempts_per_day=rules.attempts_per_day,
        attempts_per_week=rules.attempts_per_week,
        countries=None if rules.countries is None else sorted(rules.countries),
        refuses_premium=rules.refuses_premium,
    )
