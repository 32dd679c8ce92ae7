"""`batchyard team rules`: when and whom a team calls."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import typer

from batchyard.cli import options, session, tables, values
from batchyard.config import Config
from batchyard.contact_rules import TeamRules
from batchyard.operations import contacts
from batchyard.operations.audit import note
from batchyard.store.db import Connection
from batchyard.windows import EVERY_DAY


def rules(
    *,
    team: options.TeamSlug,
    per_day: Annotated[
        str | None,
        typer.Option(help="Attempts on a number in a day of its own, or off.", metavar="N|off"),
    ] = None,
    per_week: Annotated[
        str | None,
        typer.Option(help="Attempts on a number in seven days, or off.", metavar="N|off"),
    ] = None,
    countries: Annotated[
        str | None,
        typer.Option(
            help="The only countries that are called: DK,SE; or all.", metavar="CODES|all"
        ),
    ] = None,
    premium: Annotated[
        bool | None,
        typer.Option("--premium/--no-premium", help="Whether premium-rate numbers are called."),
    ] = None,
    days: Annotated[
        str | None,
        typer.Option(
            help="Days of the week with calls: mon-fri or mon,wed; or all.", metavar="DAYS|all"
        ),
    ] = None,
    holidays: Annotated[
        str | None,
        typer.Option(
            help="Dates without calls: 2026-12-24,2026-12-25; or none.", metavar="DATES|none"
        ),
    ] = None,
    fallback_zone: Annotated[
        str | None,
        typer.Option(
            help="Zone of numbers whose own is unknown, such as Europe/Copenhagen; or none.",
            metavar="ZONE|none",
        ),
    ] = None,
    as_json: options.Json = False,
    data_dir: options.DataDir = None,
) -> None:
    """Set when and whom a team calls, and show it; without options only show it.

    Days and holidays are those of the recipient's calendar. What is not named stays as it is.
    """
    changes = _changes(
        per_day=per_day,
        per_week=per_week,
        countries=countries,
        premium=premium,
        days=days,
        holidays=holidays,
        fallback_zone=fallback_zone,
    )
    settings = session.configure(data_dir=data_dir)
    with session.postgres(settings) as url:
        held = asyncio.run(_run(settings, url, team=team, changes=changes))
    if as_json:
        tables.print_json(_as_json(held))
    else:
        tables.print_table(("rule", "set to"), _rows(held))


def _changes(
    *,
    per_day: str | None,
    per_week: str | None,
    countries: str | None,
    premium: bool | None,
    days: str | None,
    holidays: str | None,
    fallback_zone: str | None,
) -> dict[str, object]:
    """Read the options that were given, by the names of the rules; raise `InvalidRequest`."""
    changed: dict[str, object] = {}
    if per_day is not None:
        changed["attempts_per_day"] = values.read_count(per_day)
    if per_week is not None:
        changed["attempts_per_week"] = values.read_count(per_week)
    if countries is not None:
        changed["countries"] = values.read_countries(countries)
    if premium is not None:
        changed["refuses_premium"] = not premium
    if days is not None:
        changed["days"] = values.read_days(days)
    if holidays is not None:
        changed["holidays"] = values.read_dates(holidays)
    if fallback_zone is not None:
        changed["fallback_zone"] = None if fallback_zone == "none" else fallback_zone
    return changed


async def _run(
    settings: Config, url: str, *, team: str, changes: Mapping[str, object]
) -> TeamRules:
    async with session.database(settings, url) as db:
        found = await session.find_team(db, team)
        if not changes:
            return await contacts.read_rules(db, team=found)

        async def seal(conn: Connection, old: TeamRules, new: TeamRules) -> None:
            before, after = (
                {name: value for name, value in _as_json(held).items() if name in changes}
                for held in (old, new)
            )
            await note(
                conn,
                team=found,
                actor=session.find_actor(),
                action="rules.change",
                before=before,
                after=after,
                now=db.clock(),
            )

        return await contacts.set_rules(
            db,
            team=found,
            change=lambda held: replace(held, **changes),  # type: ignore[arg-type]  # all read above
            seal=seal,
        )


def _rows(held: TeamRules) -> list[tuple[str, object]]:
    countries = "all" if held.countries is None else ", ".join(sorted(held.countries))
    return [
        ("attempts per day", held.attempts_per_day or "off"),
        ("attempts per week", held.attempts_per_week or "off"),
        ("countries", countries),
        ("premium rate", "refused" if held.refuses_premium else "called"),
        ("days", "all" if held.days == EVERY_DAY else values.show_days(held.days)),
        ("holidays", ", ".join(day.isoformat() for day in sorted(held.holidays)) or "none"),
        ("fallback zone", held.fallback_zone or "none"),
    ]


def _as_json(held: TeamRules) -> dict[str, object]:
    return {
        "attempts_per_day": held.attempts_per_day,
        "attempts_per_week": held.attempts_per_week,
        "countries": None if held.countries is None else sorted(held.countries),
        "refuses_premium": held.refuses_premium,
        "days": sorted(held.days),
        "holidays": [day.isoformat() for day in sorted(held.holidays)],
        "fallback_zone": held.fallback_zone,
    }
