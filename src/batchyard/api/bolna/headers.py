"""Headers of answers, as the OpenAPI document describes them."""

from typing import Any

from batchyard.api.bolna.keyed import DUPLICATE_HEADER, REMEMBERED_STATUSES, REPLAYED_HEADER
from batchyard.api.bolna.wire import EXAMPLE_BATCH, HEX_ID

Headers = dict[str, object]

RETRY_AFTER: Headers = {
    "Retry-After": {
        "description": "seconds",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    }
}
OF_FAULTS: dict[int, Headers] = {
    401: {
        "WWW-Authenticate": {
            "description": "how to say who one is",
            "schema": {"type": "string", "enum": ["Bearer"]},
        }
    },
    405: {
        "Allow": {
            "description": "the methods there are",
            "schema": {"type": "string", "examples": ["GET, POST"]},
        }
    },
    409: RETRY_AFTER,
    429: RETRY_AFTER,
}
OF_UPLOAD: Headers = {
    DUPLICATE_HEADER: {
        "description": "the batch that the very same file went into minutes ago",
        "schema": {"type": "string", "pattern": HEX_ID, "examples": [EXAMPLE_BATCH]},
    }
}
OF_FILE: Headers = {
    "Content-Disposition": {
        "description": "what the file is called",
        "schema": {"type": "string", "examples": ['attachment; filename="errors.csv"']},
    }
}
REPLAYED: Headers = {
    REPLAYED_HEADER: {
        "description": "this is the answer to an earlier request with the same Idempotency-Key",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
REPLAYABLE = {"200", "201", *map(str, REMEMBERED_STATUSES)}
"""Statuses of answers that are remembered for a key."""


def tell_replays(operation: dict[str, Any]) -> None:
    """Describe the header of an answer that comes again, with every answer that may."""
    for status, answer in operation["responses"].items():
        if status in REPLAYABLE:
            answer["headers"] = {**answer.get("headers", {}), **REPLAYED}
