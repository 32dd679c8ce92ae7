"""What an answer may say: the status words of each kind, and the published schemas of results."""

from collections.abc import Mapping
from pathlib import Path

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from batchyard.errors import InvalidRequest
from batchyard.models import JsonObject, Kind

PROGRESS_STATUSES: dict[Kind, tuple[str, ...]] = {
    Kind.CALL: ("initiated", "ringing", "in-progress", "call-disconnected"),
    Kind.SHIPMENT: ("processing",),
}
"""Words for an item that a provider works on, in the order it goes through them."""

FINAL_STATUSES: dict[Kind, tuple[str, ...]] = {
    Kind.CALL: (
        "completed",
        "no-answer",
        "busy",
        "failed",
        "error",
        "canceled",
        "balance-low",
    ),
    Kind.SHIPMENT: ("booked", "failed"),
}
"""Words with which a provider ends an item."""

REJECTED_STATUS: dict[Kind, str] = {Kind.CALL: "error", Kind.SHIPMENT: "failed"}
"""How an item ends whose request a provider rejected; no retry policy repeats it unasked."""

MAX_DEPTH = 64
MAX_RESULT_BYTES = 1024**2
"""A result without its documents; it lives in one column beside thousands of others."""

SCHEMA_FOLDER = Path(__file__).parent / "schemas"


def read_schema(name: str) -> JsonObject:
    """Read a published schema: `answer`, `call-result` or `shipment-result`."""
    schema: JsonObject = orjson.loads((SCHEMA_FOLDER / f"{name}.json").read_bytes())
    return schema


ANSWER = Draft202012Validator(read_schema("answer"))
RESULTS = {kind: Draft202012Validator(read_schema(f"{kind}-result")) for kind in Kind}


def check_answer(kind: Kind, answer: object) -> JsonObject:
    """Return the answer if it keeps to the schemas; raise `InvalidRequest` saying what does not."""
    _check(ANSWER, answer, "answer")
    if not isinstance(answer, Mapping):
        raise InvalidRequest("The answer is not a JSON object.")
    status = answer.get("status")
    known = PROGRESS_STATUSES[kind] + FINAL_STATUSES[kind]
    if status is not None and status not in known:
        raise InvalidRequest(
            f"'{_shorten(status)}' is no status of a {kind}. Known: {', '.join(known)}."
        )
    if answer.get("result") is not None:
        check_result(kind, answer["result"])
    return answer


def check_result(kind: Kind, result: object) -> None:
    """Raise `InvalidRequest` unless a result keeps to the published schema of its kind."""
    _check(RESULTS[kind], result, "result")
    if isinstance(result, Mapping):
        rest = {key: value for key, value in result.items() if key != "documents"}
        if len(orjson.dumps(rest)) > MAX_RESULT_BYTES:
            raise InvalidRequest(f"The result is larger than {MAX_RESULT_BYTES} bytes.")


def read_json(body: bytes) -> object:
    """Read JSON that may be kept; raise `InvalidRequest` for what is none.

    PostgreSQL stores no NUL characters: each becomes U+FFFD, the sign for what cannot be shown.
    """
    try:
        return _storable(orjson.loads(body), depth=0)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The answer is not JSON: {_shorten(error)}") from error


def _storable(value: object, *, depth: int) -> object:
    if depth > MAX_DEPTH:
        raise InvalidRequest(f"The answer is nested deeper than {MAX_DEPTH} levels.")
    match value:
        case str():
            return value.replace("\0", "\ufffd")
        case list():
            return [_storable(one, depth=depth + 1) for one in value]
        case dict():
            return {
                key.replace("\0", "\ufffd"): _storable(one, depth=depth + 1)
                for key, one in value.items()
            }
        case _:
            return value


def _check(validator: Draft202012Validator, value: object, name: str) -> None:
    if validator.is_valid(value):
        return
    error = best_match(validator.iter_errors(value))
    where = "".join(f".{part}" for part in error.absolute_path) if error else ""
    message = error.message if error else "it does not keep to the schema"
    raise InvalidRequest(f"{name}{where}: {_shorten(message)}")


def _shorten(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:199]}…"
