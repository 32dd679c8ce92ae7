"""JSON as text, with whole numbers of any size."""

import json
from collections.abc import Callable

import orjson


def write_json(value: object, *, default: Callable[[object], object] | None = None) -> bytes:
    """Write a value that came from the database; `default` says what else is in it.

    PostgreSQL writes out a large number digit by digit, however it was given, and orjson takes no
    whole number of more than 64 bits.
    """
    try:
        return orjson.dumps(value, default=default)
    except orjson.JSONEncodeError:
        text = json.dumps(value, default=default, ensure_ascii=False, separators=(",", ":"))
        return text.encode()
