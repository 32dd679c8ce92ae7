"""What readers of an OpenAPI document look for: groups of calls, and examples."""

from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]


def calls_of(document: Json) -> Iterator[tuple[str, Json]]:
    """Yield each call by its method and path."""
    for path, item in document["paths"].items():
        for method, call in item.items():
            yield f"{method.upper()} {path}", call


def ungrouped(document: Json) -> list[str]:
    """Name the calls in no group, or in one that is not declared."""
    declared = {tag["name"] for tag in document["tags"]}
    return [
        name
        for name, call in calls_of(document)
        if not call.get("tags") or not declared.issuperset(call["tags"])
    ]


def without_example(document: Json) -> list[str]:
    """Name the bodies of requests and of answers with 2xx that show no example.

    One of a field counts, and a file needs none.
    """
    return [
        f"{name}: {what}, {media_type}"
        for name, call in calls_of(document)
        for what, body in _bodies(call)
        for media_type, shown in body.get("content", {}).items()
        if shown["schema"].get("format") != "binary" and not _has_example(shown, document)
    ]


def _bodies(call: Json) -> Iterator[tuple[str, Json]]:
    yield "request", call.get("requestBody", {})
    for status, answer in call["responses"].items():
        if status.startswith("2"):
            yield status, answer


def _has_example(part: Json, document: Json) -> bool:
    if "example" in part or "examples" in part:
        return True
    if "$ref" in part:
        named = part["$ref"].rpartition("/")[2]
        return _has_example(document["components"]["schemas"][named], document)
    return any(_has_example(inner, document) for inner in _inner(part))


def _inner(part: Json) -> Iterator[Json]:
    for name in ("schema", "items"):
        if name in part:
            yield part[name]
    yield from part.get("anyOf", ())
    yield from part.get("properties", {}).values()
