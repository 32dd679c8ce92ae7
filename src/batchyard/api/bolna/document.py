"""What the OpenAPI document says beyond the routes: errors, forms, headers, groups."""

from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.security import HTTPBearer

from batchyard.api.bolna import headers
from batchyard.api.bolna.speaker import VERSION_HEADER
from batchyard.api.bolna.translate import Version
from batchyard.api.bolna.wire import ANY_ID, EXAMPLE_ID, Fault
from batchyard.api.bolna.wire_calls import FROM_PATTERN

TITLE = "Batchyard: batches of calls"
DESCRIPTION = f"""\
The API of the Bolna voice service for batches of calls, answered by this server. A client changes
its base URL.

Two versions are spoken. A request is answered in the version its token is pinned to, or that the
header `{VERSION_HEADER}` names; without either in `2024-01`.
"""

BATCHES, CALLS, AGENTS, ACCOUNT = "Batches", "Calls", "Agents", "Account"
TAGS = [
    {"name": BATCHES, "description": "Lists of calls: upload, schedule, follow, stop, delete."},
    {"name": CALLS, "description": "Single calls, and one call of any batch."},
    {"name": AGENTS, "description": "Who speaks. All that is sent is kept and given back."},
    {"name": ACCOUNT, "description": "The team of the token, and the numbers it calls from."},
]

Responses = dict[int | str, dict[str, object]]

SENTENCES = {
    400: "Something is wrong with the request, or the state of things forbids it.",
    401: "The token is missing or unknown (version 2024-01).",
    403: "The token is missing or unknown (version 2026-08), or lacks the scope (both versions).",
    404: "There is no such thing, or it belongs to another team.",
    405: "There is such a path, but no such method.",
    409: "The first request with this Idempotency-Key is still running.",
    413: "The body is too large.",
    422: "A field has the wrong shape, or the Idempotency-Key was used for another request.",
    429: "Come back later.",
}
DENIED_OF_TODAY = {
    "type": "object",
    "required": ["detail"],
    "properties": {"detail": {"type": "string", "const": "Unrecognized access token"}},
}
FORBIDDEN = {"anyOf": [DENIED_OF_TODAY, {"$ref": "#/components/schemas/Fault"}]}


def faults(*statuses: int) -> Responses:
    """Return the errors of a route, beside those that every route has."""
    return {status: _fault(status) for status in sorted({400, 401, 403, 404, 405, *statuses})}


def _fault(status: int) -> dict[str, object]:
    told: dict[str, object] = {"description": SENTENCES[status]}
    if status == 403:
        return {**told, "content": {"application/json": {"schema": FORBIDDEN}}}
    if status in headers.OF_FAULTS:
        told["headers"] = headers.OF_FAULTS[status]
    return {**told, "model": Fault}


def links(name: str, **operations: str) -> dict[str, object]:
    """Say where an id in an answer leads: operation = the parameter it fills."""
    return {
        "links": {
            operation: {
                "operationId": operation,
                "parameters": {parameter: f"$response.body#/{name}"},
            }
            for operation, parameter in operations.items()
        }
    }


OF_BATCH = links(
    "batch_id",
    read_batch="batch_id",
    list_executions="batch_id",
    list_refused_rows="batch_id",
    schedule_by_path="batch_id",
    stop_batch="batch_id",
    delete_batch="batch_id",
)
OF_CALL = links("execution_id", read_execution="execution_id", stop_call="execution_id")
OF_AGENT = links(
    "agent_id",
    read_agent="agent_id",
    replace_agent="agent_id",
    change_agent="agent_id",
    delete_agent="agent_id",
    stop_agent="agent_id",
    list_batches="agent_id",
    list_agent_executions="agent_id",
)

_bearer = HTTPBearer(auto_error=False, description="A token: `batchyard token create`.")


COMMON_DEPENDENCIES = [Depends(_bearer)]

# The gate reads it; a dependency that says so would cost every request.
VERSION_PARAMETER: dict[str, Any] = {
    "name": VERSION_HEADER,
    "in": "header",
    "required": False,
    "description": "the version to answer in",
    "schema": {"type": "string", "enum": list(Version), "title": VERSION_HEADER},
}

# An empty field counts as one that is not given.
_FROM_NUMBER = {"type": "string", "pattern": f"^({FROM_PATTERN[1:-1]})?$"}

UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["agent_id", "file"],
                    "properties": {
                        "agent_id": {
                            "type": "string",
                            "pattern": ANY_ID,
                            "examples": [EXAMPLE_ID],
                            "description": "one never seen before is created, unless set otherwise",
                        },
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "CSV with a column `contact_number`; every other column "
                            "is a variable of the call",
                            "examples": ["contact_number,first_name\n+4520123456,Ane\n"],
                        },
                        "from_phone_number": {**_FROM_NUMBER, "examples": ["+19876543007"]},
                        "from_phone_numbers": {
                            "type": "array",
                            "items": _FROM_NUMBER,
                            "description": "take turns over the rows",
                        },
                        "retry_config": {
                            "type": "string",
                            "description": "JSON text of a RetryConfig",
                            "examples": ['{"enabled": true, "max_retries": 2}'],
                        },
                        "webhook_url": {
                            "type": "string",
                            "description": "told when the batch starts, ends or is stopped; "
                            "ignored with a remark in the row report when it is no address",
                        },
                    },
                },
                "encoding": {"file": {"contentType": "text/csv"}},
            }
        },
    }
}

_SCHEDULE_PROPERTIES = {
    "scheduled_at": {
        "type": "string",
        "description": "ISO 8601; at least 2 minutes and at most 30 days ahead, rounded up to the "
        "next 10 minutes; without an offset it is UTC",
        "examples": ["2030-01-29T08:30:00Z"],
    },
    "bypass_call_guardrails": {"type": "string", "enum": ["true", "false"]},
}


def schedule_body(*, names_batch: bool) -> dict[str, object]:
    """Describe the form of a schedule; the old form names its batch in a field."""
    named = {"batch_id": {"type": "string", "pattern": ANY_ID}} if names_batch else {}
    schema = {
        "type": "object",
        "required": ["scheduled_at", *named],
        "properties": {**_SCHEDULE_PROPERTIES, **named},
    }
    kinds = ("multipart/form-data", "application/x-www-form-urlencoded")
    return {
        "requestBody": {"required": True, "content": {kind: {"schema": schema} for kind in kinds}}
    }


STREAMED_CSV: Responses = {
    200: {
        "description": "The refused rows in the uploaded columns, their faults behind.",
        "headers": headers.OF_FILE,
        "content": {
            "text/csv": {
                "schema": {"type": "string"},
                "example": "contact_number,first_name,error_code,error\r\n"
                "+45 20 12,Ane,phone_too_short,The phone number is too short for its country.\r\n",
            }
        },
    }
}


FOREIGN_SHAPES = ("HTTPValidationError", "ValidationError")


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the door, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            tags=app.openapi_tags,
            routes=app.routes,
            separate_input_output_schemas=False,
        )
        for path in document["paths"].values():
            for method, operation in path.items():
                if method == "post":
                    headers.tell_replays(operation)
                for parameter in operation.get("parameters", ()):
                    _forbid_null(parameter)
                operation.setdefault("parameters", []).append(VERSION_PARAMETER)
                _drop_foreign_refusal(operation)
        for unused in FOREIGN_SHAPES:
            document["components"]["schemas"].pop(unused, None)
        app.openapi_schema = document
    return app.openapi_schema


def _drop_foreign_refusal(operation: dict[str, Any]) -> None:
    """Leave out the 422 that FastAPI adds of itself; the door answers such faults its own way."""
    content = operation["responses"].get("422", {}).get("content", {})
    named = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    if named.rpartition("/")[2] in FOREIGN_SHAPES:
        del operation["responses"]["422"]


def _forbid_null(parameter: dict[str, Any]) -> None:
    """Say what leaving a parameter out means, which is not sending the word `null`."""
    schema = parameter["schema"]
    kinds = [kind for kind in schema.pop("anyOf", ()) if kind != {"type": "null"}]
    for kind in kinds:
        schema.update(kind)
