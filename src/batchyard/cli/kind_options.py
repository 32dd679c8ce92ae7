"""Options that a kind of provider has besides those of every kind, made from its settings."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from batchyard.cli import values
from batchyard.errors import InvalidRequest

DURATION_SUFFIX = "_seconds"


def option_of(name: str) -> str:
    """Return the option of a setting; of one that lasts, without its unit."""
    return f"--{name.removesuffix(DURATION_SUFFIX).replace('_', '-')}"


def read_options(
    kind: str, model: type[BaseModel] | None, words: Sequence[str]
) -> Mapping[str, object]:
    """Read `--setting VALUE` and `--setting=VALUE`; raise `InvalidRequest` naming what is wrong."""
    fields = {} if model is None else model.model_fields
    options = {option_of(name): name for name in fields}
    options |= {f"--{name.replace('_', '-')}": name for name in fields}
    found: dict[str, object] = {}
    rest = list(words)
    while rest:
        option, equals, text = rest.pop(0).partition("=")
        if option not in options:
            known = ", ".join(option_of(name) for name in fields) or "none of its own"
            raise InvalidRequest(f"Kind '{kind}' has no option {option}. It has: {known}.")
        name = options[option]
        if not equals:
            is_switch = fields[name].annotation is bool
            text = "true" if is_switch else _next(option, rest)
        found[name] = _read(name, fields[name], text)
    return found


def _next(option: str, rest: list[str]) -> str:
    if not rest or rest[0].startswith("--"):
        raise InvalidRequest(f"{option} needs a value.")
    return rest.pop(0)


def _read(name: str, field: FieldInfo, text: str) -> object:
    """Read a value as the setting takes it; one that no reading fits is left to its model."""
    adapter: TypeAdapter[Any] = TypeAdapter(
        # At least one mark beside the type, however bare the setting is.
        Annotated[field.annotation, Field(), *field.metadata]  # type: ignore[arg-type]
    )
    for candidate in _candidates(name, text):
        try:
            return adapter.dump_python(adapter.validate_python(candidate), mode="json")
        except ValidationError:
            continue
    return text


def _candidates(name: str, text: str) -> list[object]:
    candidates: list[object] = [text]
    try:
        candidates.append(json.loads(text))
    except ValueError:
        candidates.append(text.split(","))
    if name.endswith(DURATION_SUFFIX) and values.DURATION.fullmatch(text):
        candidates.insert(0, values.read_duration(text))
    return candidates
