"""SQL expressions that say things in the vendor's words."""

from collections.abc import Mapping

from batchyard.api.bolna.translate import (
    CALL_WORDS,
    UNKNOWN_FOR_LONG_WORD,
    UNKNOWN_WORD,
    WAITING_WORDS,
)
from batchyard.lifecycle import UNKNOWN_STATUS


def sql_case(column: str, words: Mapping[str, str], otherwise: str) -> str:
    """Return an expression that translates a column; `otherwise` is an expression too."""
    cases = " ".join(f"WHEN '{ours}' THEN '{theirs}'" for ours, theirs in words.items())
    return f"CASE {column} {cases} ELSE {otherwise} END"


def sql_time(column: str) -> str:
    """Return an expression that writes a time as the vendor does: UTC, whole seconds, Z."""
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""


# Rounding of double precision goes to the even number, as Python's does.
HUMANIZED = """
CASE
    WHEN age < 1 THEN 'now'
    WHEN age = 1 THEN 'a second ago'
    WHEN age < 60 THEN age || ' seconds ago'
    WHEN age < 3600 THEN CASE round(age / 60.0::float8)
        WHEN 1 THEN 'a minute ago'
        WHEN 60 THEN 'an hour ago'
        ELSE round(age / 60.0::float8) || ' minutes ago' END
    WHEN age < 86400 THEN CASE round(age / 3600.0::float8)
        WHEN 1 THEN 'an hour ago'
        WHEN 24 THEN 'a day ago'
        ELSE round(age / 3600.0::float8) || ' hours ago' END
    WHEN days < 365 THEN CASE
        WHEN days = 1 THEN 'a day ago'
        WHEN months = 0 THEN days || ' days ago'
        WHEN months = 1 THEN 'a month ago'
        WHEN months = 12 THEN 'a year ago'
        ELSE months || ' months ago' END
    WHEN days < 730 THEN CASE
        WHEN days = 365 THEN 'a year ago'
        WHEN days = 366 THEN '1 year, 1 day ago'
        WHEN months = 0 THEN '1 year, ' || days - 365 || ' days ago'
        WHEN months = 1 THEN '1 year, 1 month ago'
        WHEN months = 12 THEN '2 years ago'
        ELSE '1 year, ' || months || ' months ago' END
    ELSE round(days / 365.0::float8) || ' years ago'
END
"""
"""The words of the library humanize; a test compares them."""


def sql_age(column: str) -> str:
    """Return an expression that says how long ago a time was."""
    return f"""
(SELECT {HUMANIZED}
   FROM (SELECT age, age / 86400 AS days,
                round(mod(age / 86400, 365) / 30.5::float8)::int AS months
           FROM (SELECT greatest(0, floor(extract(epoch FROM %(now)s - {column})))::bigint
                        AS age) AS aged) AS parted)
"""


HUMANIZED_AGE = sql_age("b.created_at")

CALL_WORD = f"""
CASE {{status}}
    WHEN 'waiting' THEN {sql_case("b.state", WAITING_WORDS, "'queued'")}
    {{unknown}}
    ELSE CASE WHEN b.state IN ('stopped', 'cancelled') AND {{status}} IN ('rescheduled', 'retrying')
              THEN {sql_case("b.state", WAITING_WORDS, "'queued'")}
              ELSE {sql_case("{status}", CALL_WORDS, "{status}")} END
END
"""
COUNT_WORD = CALL_WORD.format(status="c.status", unknown="")
UNKNOWN_AGE_WORD = f"""
CASE WHEN i.updated_at < %(unknown_before)s THEN '{UNKNOWN_FOR_LONG_WORD}'
     ELSE '{UNKNOWN_WORD}' END
"""
ITEM_WORD = CALL_WORD.format(
    status="i.status", unknown=f"WHEN '{UNKNOWN_STATUS}' THEN {UNKNOWN_AGE_WORD}"
)
