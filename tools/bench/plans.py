"""Records `EXPLAIN (ANALYZE, BUFFERS)` of every hot statement: `python -m tools.bench.plans`.

The statements are the very ones that the code runs, on a database with as much in it as a busy
installation has. Nothing of it stays: each runs in a transaction that is undone.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
from psycopg.sql import Composed

from tools.bench import machine, yard
from tools.bench.figures import QUICK, say
from tools.bench.hot_statements import HotStatement, fill, list_statements

BEGIN = "<!-- plans: written by `python -m tools.bench.plans --write` -->"
END = "<!-- end of the plans -->"
TIMES = 3
"""Each runs so often; the last is shown, with everything in memory."""


def main() -> int:
    """Print every plan, or put all of them into a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=200_000, help="in the largest batch")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put them into the page")
    asked = parser.parse_args()
    with yard.postgres() as url:
        say(f"filling with {asked.items:,} items")
        filled = fill(url, items=asked.items)
        sections = list(_explain(url, list_statements(filled)))
    conditions = machine.describe(QUICK)
    head = (
        f"On {conditions['machine']}, PostgreSQL {conditions['PostgreSQL'].partition(',')[0]}, "
        f"{conditions['when']}, load {conditions['load before']}; {asked.items:,} items in the "
        "largest batch.\n"
    )
    text = "\n".join([head, *sections])
    if asked.write is None:
        print(text)
        return 0
    page = asked.write.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        parser.error(f"{asked.write} lacks the lines {BEGIN} and {END}")
    asked.write.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")
    return 0


def _explain(url: str, statements: Mapping[str, HotStatement]) -> Iterator[str]:
    with psycopg.connect(url) as connection:
        for title, statement in statements.items():
            plan = ""
            for _ in range(TIMES):
                plan = _plan(connection, statement.sql, statement.values)
                connection.rollback()
            yield f"### {title}\n\n{statement.remark}\n\n```\n{plan}\n```\n"


def _plan(
    connection: psycopg.Connection[tuple[object, ...]],
    sql: str | Composed,
    values: Mapping[str, object],
) -> str:
    text = sql if isinstance(sql, str) else sql.as_string(connection)
    explained = f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {text}"
    return "\n".join(str(row[0]) for row in connection.execute(explained, values))


if __name__ == "__main__":
    sys.exit(main())
