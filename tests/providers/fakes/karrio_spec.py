"""Checks exchanges against Karrio's own specification, where that is at hand."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from ruamel.yaml import YAML

VARIABLE = "BATCHYARD_VENDOR_SPECS"
FILE = "karrio-openapi.yml"
MISSING = f"left out: {VARIABLE} names no folder with {FILE}"

ERRORS = {"$ref": "#/components/schemas/ErrorResponse"}

CORRECTIONS: Mapping[tuple[str, str, str], Mapping[str, Any]] = {
    ("get", "/v1/shipments", "200"): {
        "type": "object",
        "required": ["count", "results"],
        "properties": {
            "results": {"type": "array", "items": {"$ref": "#/components/schemas/Shipment"}}
        },
    },
    ("post", "/v1/shipments/{id}/cancel", "202"): {"$ref": "#/components/schemas/Shipment"},
    ("post", "/v1/shipments", "404"): ERRORS,
}
"""Known faults of the specification: a list is typed as one shipment, a repeated cancellation
answers 202 and not 304, and a draft without a connection answers 404."""

UNSAID = frozenset({"401", "403", "429"})
"""Statuses that the server answers everywhere and the specification nowhere."""


def find_spec() -> Path | None:
    """Return the specification's file."""
    folder = os.environ.get(VARIABLE)
    file = Path(folder, FILE) if folder else None
    return file if file is not None and file.is_file() else None


class KarrioSpec:
    """The specification, as validators of single exchanges."""

    def __init__(self, file: Path) -> None:
        document = YAML(typ="safe").load(file)
        self._schemas = _plain(document["components"]["schemas"])
        self._paths = document["paths"]
        self._patterns = {
            path: re.compile(re.sub(r"\{\w+\}", r"[^/]+", path) + r"\Z") for path in self._paths
        }

    def fault_of_request(self, method: str, path: str, body: bytes) -> str | None:
        """Say what of a request the specification does not allow."""
        template = self._template(path.partition("?")[0])
        if template is None or method.lower() not in self._paths[template]:
            return f"there is no {method} {path}"
        operation = self._paths[template][method.lower()]
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content is None:
            return f"{method} {template} takes no body" if body else None
        return self._fault(content["schema"], body, f"{method} {template}")

    def fault_of_answer(self, method: str, path: str, status: int, body: bytes) -> str | None:
        """Say what of an answer the specification does not allow."""
        template = self._template(path.partition("?")[0]) or ""
        known = (method.lower(), template, str(status))
        if str(status) in UNSAID:
            schema: Mapping[str, Any] = ERRORS
        elif known in CORRECTIONS:
            schema = CORRECTIONS[known]
        else:
            responses = self._paths[template][method.lower()]["responses"]
            if str(status) not in responses:
                return f"{method} {template} never answers {status}"
            schema = responses[str(status)]["content"]["application/json"]["schema"]
        return self._fault(schema, body, f"{status} to {method} {template}")

    def _template(self, path: str) -> str | None:
        found = [one for one, pattern in self._patterns.items() if pattern.match(path)]
        return min(found, key=lambda one: one.count("{"), default=None)

    def _fault(self, schema: Mapping[str, Any], body: bytes, where: str) -> str | None:
        try:
            given = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            return f"{where}: no JSON: {error}"
        whole = {"components": {"schemas": self._schemas}, "allOf": [_plain(schema)]}
        wrong = best_match(Draft202012Validator(whole).iter_errors(given))
        if wrong is None:
            return None
        return f"{where}: {'.'.join(map(str, wrong.absolute_path))}: {wrong.message[:300]}"


def _plain(schema: Any) -> Any:  # noqa: ANN401  # any JSON
    """Turn OpenAPI 3.0's `nullable` into what JSON Schema knows."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: _plain(value) for name, value in schema.items() if name != "nullable"}
    if schema.get("nullable") is not True:
        return kept
    return {"anyOf": [kept, {"type": "null"}]}
