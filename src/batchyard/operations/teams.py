"""Make, find, list and change teams."""

import re
import unicodedata
from dataclasses import replace
from uuid import UUID
from zoneinfo import available_timezones

from babel.core import Locale, UnknownLocaleError

from batchyard.errors import Conflict, InvalidRequest, NotFound, StoreError
from batchyard.models import Team
from batchyard.operations.audit import Actor, note
from batchyard.operations.transactions import Transactions
from batchyard.store import teams
from batchyard.store.db import Database
from batchyard.store.ids import new_id

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
MAX_SLUG_LENGTH = 63
MAX_NAME_LENGTH = 255


async def create_team(
    db: Database,
    *,
    name: str,
    slug: str | None = None,
    locale: str = "en",
    timezone: str = "UTC",
    actor: Actor | None = None,
) -> Team:
    """Make a team; without a slug, one is made from the name.

    Its audit log begins with who made it, where `actor` says that. Raises `Conflict` when the slug
    is taken and `InvalidRequest` naming each wrong value.
    """
    team = Team(
        id=0,
        uuid=new_id(),
        slug=_slug_of(name) if slug is None else slug,
        name=name.strip(),
        locale=locale.replace("_", "-"),
        timezone=timezone,
        created_at=db.clock(),
    )
    _check(team)
    async with db.transaction() as connection:
        made = await teams.insert(connection, team=team)
        if made is not None and actor is not None:
            await note(
                connection,
                team=made,
                actor=actor,
                action="team.create",
                subject=made.slug,
                after={"name": made.name, "locale": made.locale, "timezone": made.timezone},
                now=db.clock(),
            )
    if made is None:
        raise Conflict(f"A team with the slug {team.slug} exists already.")
    return made


async def ensure_team(db: Database, *, slug: str, name: str, actor: Actor | None = None) -> Team:
    """Return the team of this slug, made by `actor` if it is not there."""
    found = await find_team(db, slug_or_uuid=slug)
    if found is not None:
        return found
    try:
        return await create_team(db, name=name, slug=slug, actor=actor)
    except Conflict:
        found = await find_team(db, slug_or_uuid=slug)
    if found is None:
        raise StoreError(f"The team {slug} is there and is not.")
    return found


async def find_team(db: Transactions, *, slug_or_uuid: str) -> Team | None:
    """Return the team named by its slug or its uuid."""
    async with db.transaction() as connection:
        if UUID_TEXT.fullmatch(slug_or_uuid):
            return await teams.find_by_uuid(connection, uuid=UUID(slug_or_uuid))
        if SLUG.fullmatch(slug_or_uuid):
            return await teams.find_by_slug(connection, slug=slug_or_uuid)
    return None


async def list_teams(db: Database) -> list[Team]:
    """List all teams by their slugs."""
    async with db.pool.connection() as connection:
        return await teams.list_all(connection)


async def change_team(
    db: Transactions,
    *,
    team: Team,
    name: str | None = None,
    locale: str | None = None,
    timezone: str | None = None,
) -> Team:
    """Change what a team is called, its language or its time zone; what is None stays.

    Raises `InvalidRequest` naming each wrong value.
    """
    wanted = replace(
        team,
        name=team.name if name is None else name.strip(),
        locale=team.locale if locale is None else locale.replace("_", "-"),
        timezone=team.timezone if timezone is None else timezone,
    )
    _check(wanted)
    async with db.transaction() as connection:
        changed = await teams.change(
            connection,
            team_id=team.id,
            name=None if name is None else wanted.name,
            locale=None if locale is None else wanted.locale,
            timezone=timezone,
        )
    if changed is None:
        raise NotFound("There is no such team.")
    return changed


def facts_of(team: Team) -> dict[str, object]:
    """Return what can be changed of a team, for the audit log."""
    return {"name": team.name, "locale": team.locale, "timezone": team.timezone}


def _check(team: Team) -> None:
    if faults := _faults(team):
        sentences = " ".join(sentence for told in faults.values() for sentence in told)
        raise InvalidRequest(sentences, faults=faults)


def _slug_of(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:MAX_SLUG_LENGTH].rstrip("-")


def _faults(team: Team) -> dict[str, list[str]]:
    faults: dict[str, list[str]] = {}
    if not 0 < len(team.name) <= MAX_NAME_LENGTH or "\0" in team.name:
        faults["name"] = [f"A name has 1 to {MAX_NAME_LENGTH} characters."]
    # A slug in the form of a uuid could stand for another team.
    if not SLUG.fullmatch(team.slug) or UUID_TEXT.fullmatch(team.slug):
        faults["slug"] = [
            "A slug has 1 to 63 small letters, digits or dashes, no dash first, and is no UUID."
        ]
    if not _is_locale(team.locale):
        faults["locale"] = [f"{team.locale!r} is no language tag such as en or da-DK."]
    if team.timezone not in available_timezones():
        faults["timezone"] = [f"{team.timezone!r} is no time zone such as Europe/Copenhagen."]
    return faults


def _is_locale(tag: str) -> bool:
    try:
        Locale.parse(tag, sep="-")
    except (UnknownLocaleError, ValueError):
        return False
    return True
