"""How a kind declares its settings and secrets once: read, checked, listed from one model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from batchyard.errors import ConfigError
from batchyard.network import fault_of_url

Model = TypeVar("Model", bound=BaseModel)


def _url(value: str) -> str:
    if fault := fault_of_url(value):
        raise ValueError(f"{value!r} {fault}")
    return value


Url = Annotated[str, AfterValidator(_url)]
Seconds = Annotated[float, Field(ge=0, le=366 * 86400, allow_inf_nan=False)]
E164 = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{6,14}$")]


class Settings(BaseModel):
    """What a provider's operator may say; every field has a description."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One setting or secret, for people to read."""

    name: str
    default: str
    """Empty when it has to be given, or has none."""
    is_required: bool
    meaning: str


def read_settings(model: type[Model], name: str, settings: Mapping[str, object]) -> Model:
    """Check stored settings; raise `ConfigError` naming each wrong one."""
    try:
        return model.model_validate(dict(settings))
    except ValidationError as error:
        faults = "; ".join(_fault(".".join(map(str, e["loc"])), e["msg"]) for e in error.errors())
        raise ConfigError(f"Provider '{name}' has wrong settings. {faults}.") from error


def read_secrets(model: type[Model], name: str, secret: str | None) -> Model:
    """Read secrets that are stored as one JSON text; raise `ConfigError`, which shows none."""
    try:
        return model.model_validate_json(secret or "{}")
    except ValidationError as error:
        faults = "; ".join(
            _fault(".".join(map(str, e["loc"])) or "secrets", e["msg"])
            for e in error.errors(include_input=False)
        )
        raise ConfigError(f"Provider '{name}' has wrong secrets. {faults}.") from None


def list_settings(model: type[BaseModel]) -> Iterator[Setting]:
    """List what a model has, in its order."""
    for name, field in model.model_fields.items():
        yield Setting(
            name=name,
            default=_default(field),
            is_required=field.is_required(),
            meaning=field.description or "",
        )


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if field.is_required() or value is None:
        return ""
    match value:
        case bool():
            return "yes" if value else "no"
        case float() if value.is_integer():
            return str(int(value))
        case dict():
            return "none" if not value else str(value)
        case tuple() | frozenset():
            return ", ".join(str(one) for one in sorted(value))
        case _:
            return str(value)


def _fault(where: str, message: str) -> str:
    text = message.removeprefix("Value error, ")
    return f"{where}: {text}" if where else text
