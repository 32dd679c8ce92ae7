"""The OpenAPI document of this door: what FastAPI writes, and what it cannot know."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from batchyard.api.smartsend.replies import PREFIX

Json = dict[str, Any]

DESCRIPTION = """\
Speaks the Smart Send shipping API v2: a client changes its base URL and works.

Every call takes a bearer token and names its team, by slug or UUID. `Accept-Language` chooses the
language of messages and names (English, Danish). `Request-ID` is echoed. A POST or DELETE with an
`Idempotency-Key` is done once, however often it is sent within 24 hours. Errors are
`{"message"}`, and with 422 `{"message", "errors"}`: every fault under the dotted path of its place.
"""

TAGS = [
    {"name": "Batches", "description": "Shipments that are booked together, in the background."},
    {"name": "Shipments", "description": "Single shipments, booked at once; carriers' services."},
    {"name": "Documents", "description": "Labels and customs papers, singly and merged."},
]

EXAMPLE: Json = {
    "currency": "DKK",
    "reference": "order-1001",
    "delivery": {"carrier": "postnord", "service": "home"},
    "parties": {
        "receiver": {
            "address": {
                "address_lines": ["Åboulevarden 1"],
                "postal_code": "8000",
                "city": "Aarhus C",
                "country": "DK",
            },
            "contact": {"name_lines": ["Søren Ørsted"], "phone": "+4520123456"},
        }
    },
    "parcels": [{"gross_weight": 1200, "items": [{"description": "Kop", "quantity": 2}]}],
}

BODIES: Mapping[str, Json] = {
    "create_batch": {"reference": "Monday", "identifier": "2026-03-02"},
    "create_shipment": EXAMPLE,
    "add_shipments": {"data": [EXAMPLE]},
}

HEADERS: Mapping[str, Json] = {
    "Request-ID": {"description": "as the client sent it, else made here", "required": True},
    "Content-Language": {"description": "of the display text", "required": True},
    "Vary": {"description": "names Accept-Language", "required": True},
}
RETRY_AFTER: Json = {"Retry-After": {"description": "seconds", "required": True}}
REPLAYED: Json = {
    "Idempotency-Replayed": {"description": "`true`: nothing was done, this is the answer of then"}
}
MORE_HEADERS: Mapping[tuple[str, str], Json] = {
    ("book_shipment", "202"): {
        "Location": {"description": "the operation"},
        "Preference-Applied": {"description": "`respond-async` where that was preferred"},
    },
    ("add_shipments", "201"): {
        "Preference-Applied": {"description": "`handling=lenient` where that was preferred"},
    },
}

MADE = "$response.body#/data/uuid"
LINKS: Mapping[tuple[str, str], Mapping[str, Mapping[str, str]]] = {
    ("create_batch", "201"): {
        name: {"batch": MADE}
        for name in (
            "read_batch",
            "add_shipments",
            "dispatch_batch",
            "list_shipments_of_batch",
            "merge_labels",
            "cancel_batch",
        )
    },
    ("add_shipments", "201"): {
        name: {"shipment": "$response.body#/data/0/uuid"}
        for name in ("read_shipment", "list_documents", "cancel_shipment")
    },
    ("create_shipment", "201"): {
        name: {"shipment": MADE}
        for name in ("read_shipment", "book_shipment", "list_documents", "cancel_shipment")
    },
    ("book_shipment", "202"): {"read_operation": {"operation": MADE}},
}
"""What to do with an answer next: by call and status, the calls and where their ids come from."""


def describe(door: FastAPI) -> Callable[[], Json]:
    """Return what makes the document of the door, once."""
    made: list[Json] = []

    def document() -> Json:
        if not made:
            made.append(_complete(_basis(door)))
        return made[0]

    return document


def _basis(door: FastAPI) -> Json:
    return get_openapi(
        title=door.title,
        version=door.version,
        description=DESCRIPTION,
        tags=TAGS,
        routes=door.routes,
        separate_input_output_schemas=False,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )


def _complete(document: Json) -> Json:
    for call in _calls(document):
        name = call["operationId"]
        for parameter in call.get("parameters", ()):
            parameter["schema"] = _sendable(parameter["schema"])
        body = call.get("requestBody", {}).get("content", {}).get("application/json")
        if body is not None:
            body["example"] = BODIES[name]
        for status, response in call["responses"].items():
            response["headers"] = _headers(call, status)
            for target, parameters in LINKS.get((name, status), {}).items():
                link = {"operationId": target, "parameters": dict(parameters)}
                response.setdefault("links", {})[target] = link
    _name_shipments(document)
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)
    return document


def _name_shipments(document: Json) -> None:
    """Name the shape of a shipment once; FastAPI writes it out where it does not check it."""
    shapes = document["components"]["schemas"]
    reference = {"$ref": "#/components/schemas/Shipment"}
    single = document["paths"][f"{PREFIX}/shipments"]["post"]["requestBody"]["content"]
    several = shapes["NewShipments"]["properties"]["data"]
    shapes["Shipment"] = several["items"]
    several["items"] = reference
    single["application/json"]["schema"] = reference


def _calls(document: Json) -> Iterator[Json]:
    for calls in document["paths"].values():
        yield from calls.values()


def _sendable(schema: Json) -> Json:
    """Return the schema of a parameter without null, which cannot be sent in an address."""
    choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(choices) != 1:
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**choices[0], **rest}


def _headers(call: Json, status: str) -> Json:
    headers = dict(HEADERS)
    if status in ("409", "429"):
        headers |= RETRY_AFTER
    takes_key = any(one["name"] == "Idempotency-Key" for one in call.get("parameters", ()))
    if takes_key and (status.startswith("2") or status in ("404", "422")):
        headers |= REPLAYED
    headers |= MORE_HEADERS.get((call["operationId"], status), {})
    return {name: {"schema": {"type": "string"}, **header} for name, header in headers.items()}
