"""The vendor's own specification, which every request and answer of a fake is held against."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from openapi_core import OpenAPI
from openapi_core.exceptions import OpenAPIError
from openapi_core.testing import MockRequest, MockResponse

from batchyard.testing import Arrived

FOLDER = "BATCHYARD_VENDOR_SPECS"
TWILIO = "twilio-calls-openapi.json"
MISSING = f"{FOLDER} names no folder with {TWILIO}: the vendor's specification was left out"

CALLS = "/2010-04-01/Accounts/{AccountSid}/Calls.json"
CALL = "/2010-04-01/Accounts/{AccountSid}/Calls/{Sid}.json"

GAPS = (
    "repeated StatusCallbackEvent: the form has no encoding, so it would have to be one field",
    "no answer but success is described, so the shape of errors is judged by the SDK alone",
    "fields that are not in the form are not refused, so their names are compared here",
    "accounts, numbers and recordings are in another part of the specification",
)
"""Where the specification says less than the vendor does."""


class Specification:
    """Judges exchanges about calls."""

    def __init__(self, folder: Path) -> None:
        document = json.loads((folder / TWILIO).read_text(encoding="utf-8"))
        self._fields = {}
        for path in (CALLS, CALL):
            media = document["paths"][path]["post"]["requestBody"]["content"]
            form = media["application/x-www-form-urlencoded"]
            form["encoding"] = {
                name: {"style": "form", "explode": True}
                for name, schema in form["schema"]["properties"].items()
                if schema.get("type") == "array"
            }
            self._fields[path] = set(form["schema"]["properties"])
        self._server = document["servers"][0]["url"]
        self._api = OpenAPI.from_dict(document)

    def judge(self, arrived: Arrived, status: int | None, answer: bytes) -> list[str]:
        """Say where an exchange breaks the specification; no status: there was no answer."""
        parts = urlsplit(arrived.path)
        if "/Calls" not in parts.path:
            return []
        form = arrived.headers.get("content-type", "")
        request = MockRequest(
            self._server,
            arrived.method.lower(),
            parts.path,
            args=_arguments(parts.query),
            headers=dict(arrived.headers),
            data=arrived.body or None,
            content_type=form or "application/json",
        )
        found = self._unknown_fields(arrived, parts.path)
        # A refusal is the right answer to a request that is wrong.
        if status is None or not 400 <= status <= 499:
            found += _faults(lambda: self._api.validate_request(request))
        if status is not None and status < 400:
            response = MockResponse(answer, status_code=status, content_type="application/json")
            found += _faults(lambda: self._api.validate_response(request, response))
        return [f"{arrived.method} {parts.path}: {one}" for one in found]

    def _unknown_fields(self, arrived: Arrived, path: str) -> list[str]:
        if arrived.method != "POST":
            return []
        known = self._fields[CALLS if path.endswith("/Calls.json") else CALL]
        given = {name for name, _ in parse_qsl(arrived.body.decode(), keep_blank_values=True)}
        return [f"{name} is no field of it" for name in sorted(given - known)]


def find() -> Specification | None:
    """Return the specification, where this machine has it."""
    folder = Path(os.environ.get(FOLDER) or "")
    return Specification(folder) if (folder / TWILIO).is_file() else None


def _arguments(query: str) -> dict[str, Any]:
    return dict(parse_qsl(query, keep_blank_values=True))


def _faults(judge: Callable[[], object]) -> list[str]:
    try:
        judge()
    except OpenAPIError as error:
        return [f"{error} {error.__cause__ or ''}".strip()]
    return []
