"""Rows of `teams`."""

from uuid import UUID

from psycopg.rows import class_row

from batchyard.models import Team
from batchyard.store.db import Connection

INSERT_TEAM = """
INSERT INTO teams (uuid, slug, name, locale, timezone, created_at)
VALUES (%(uuid)s, %(slug)s, %(name)s, %(locale)s, %(timezone)s, %(created_at)s)
ON CONFLICT (slug) DO NOTHING
RETURNING id, uuid, slug, name, locale, timezone, created_at
"""


async def insert(connection: Connection, *, team: Team) -> Team | None:
    """Write a team and return it with its id, or None when its slug is taken.

    The given `id` is not used.
    """
    async with connection.cursor(row_factory=class_row(Team)) as cursor:
        await cursor.execute(
            INSERT_TEAM,
            {
                "uuid": team.uuid,
                "slug": team.slug,
                "name": team.name,
                "locale": team.locale,
                "timezone": team.timezone,
                "created_at": team.created_at,
            },
        )
        return await cursor.fetchone()


SELECT_BY_SLUG = """
SELECT id, uuid, slug, name, locale, timezone, created_at FROM teams WHERE slug = %(slug)s
"""


async def find_by_slug(connection: Connection, *, slug: str) -> Team | None:
    """Return the team of this slug."""
    async with connection.cursor(row_factory=class_row(Team)) as cursor:
        await cursor.execute(SELECT_BY_SLUG, {"slug": slug})
        return await cursor.fetchone()


SELECT_BY_UUID = """
SELECT id, uuid, slug, name, locale, timezone, created_at FROM teams WHERE uuid = %(uuid)s
"""


async def find_by_uuid(connection: Connection, *, uuid: UUID) -> Team | None:
    """Return the team of this uuid."""
    async with connection.cursor(row_factory=class_row(Team)) as cursor:
        await cursor.execute(SELECT_BY_UUID, {"uuid": uuid})
        return await cursor.fetchone()


SELECT_BY_ID = """
SELECT id, uuid, slug, name, locale, timezone, created_at, weight
  FROM teams WHERE id = %(team_id)s
"""


async def find_by_id(connection: Connection, *, team_id: int) -> Team | None:
    """Return the team of this id."""
    async with connection.cursor(row_factory=class_row(Team)) as cursor:
        await cursor.execute(SELECT_BY_ID, {"team_id": team_id})
        return await cursor.fetchone()


SET_WEIGHT = "UPDATE teams SET weight = %(weight)s WHERE id = %(team_id)s"


async def set_weight(connection: Connection, *, team_id: int, weight: int) -> None:
    """Set a team's share of the workers beside other teams."""
    await connection.execute(SET_WEIGHT, {"weight": weight, "team_id": team_id})


LIST_IDS = "SELECT id FROM teams ORDER BY id"


async def list_ids(connection: Connection) -> list[int]:
    """List the ids of all teams."""
    return [int(str(row[0])) for row in await (await connection.execute(LIST_IDS)).fetchall()]


LIST = """
SELECT id, uuid, slug, name, locale, timezone, created_at, weight FROM teams ORDER BY slug
"""


async def list_all(connection: Connection) -> list[Team]:
    """List all teams by their slugs."""
    async with connection.cursor(row_factory=class_row(Team)) as cursor:
        await cursor.execute(LIST)
        return await cursor.fetchall()


CHANGE = """
UPDATE teams
   SET name = coalesce(%(name)s::text, name), locale = coalesce(%(locale)s::text, locale),
       timezone = coalesce(%(timezone)s::text, timezone)
 WHERE id = %(team_id)s
RETURNING id, uuid, slug, name, locale, timezone, created_at, weight
"""


async def change(
    connection: Connection,
    *,
    team_id: int,
    name: str | None,
    locale: str | None,
    timezone: str | None,
) -> Team | None:
    """Write what a team is called, its language and its time zone; what is None stays."""
    values = {"team_id": team_id, "name": name, "locale": locale, "timezone": timezone}
    async with connection.cursor(row_factory=class_row(Team)) as cursor:
        await cursor.execute(CHANGE, values)
        return await cursor.fetchone()
