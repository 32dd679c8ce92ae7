"""What is said of a list beside its rows, and how the list is read."""

from typing import Any, Self
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from batchyard.api.operator.access import Caller
from batchyard.api.operator.wire import Retries, Text
from batchyard.intake.choices import Duplicates, RowPolicy
from batchyard.intake.options import IntakeOptions
from batchyard.models import Kind, RetryPolicy
from batchyard.operations import mappings
from batchyard.operations.imports import BatchSettings, CallSettings, ShipmentSettings

FORM = "multipart/form-data"


class Rows(BaseModel):
    """How a list is read and judged."""

    model_config = ConfigDict(extra="forbid")

    mapping: dict[str, str | None] | None = Field(
        default=None, description="what columns mean, by their names; null leaves one out"
    )
    mapping_name: Text | None = Field(default=None, description="a saved mapping")
    sheet: Text | None = Field(default=None, description="of a spreadsheet; else the first")
    encoding: Text | None = Field(
        default=None, description="of a text file, such as windows-1251; found unless said"
    )
    policy: RowPolicy = RowPolicy.GOOD_ROWS
    duplicates: Duplicates = Field(default=Duplicates.KEEP, description="within the list")
    recent: Duplicates = Field(default=Duplicates.KEEP, description="against earlier batches")
    recent_days: int = Field(default=7, ge=0, le=365)
    refuses_same_file: bool = Field(
        default=False, description="refuses a file that came within the last 15 minutes"
    )
    upload_id: UUID | None = Field(
        default=None, description="chosen by you, to follow it at `/uploads/{upload_id}` meanwhile"
    )


class NewBatch(Rows):
    """What is said of a new batch beside its list."""

    kind: Kind
    agent_id: UUID | None = Field(default=None, description="of calls")
    reference: Text | None = None
    identifier: Text | None = None
    from_numbers: list[Text] = Field(default_factory=list, max_length=1000)
    retries: Retries | None = None
    priority: int | None = Field(default=None, ge=0, le=9)
    bypass_windows: bool | None = None
    has_brake: bool | None = None

    @model_validator(mode="after")
    def check_kind(self) -> Self:
        """Refuse calls of nobody, and retries after what cannot happen."""
        if (self.kind is Kind.CALL) is (self.agent_id is None):
            raise ValueError("calls need an agent_id, shipments have none")
        if self.retries is not None:
            self.retries.check(self.kind)
        return self

    def settings(self, file_name: str | None) -> BatchSettings:
        """Return what the import takes."""
        said: dict[str, Any] = {
            "file_name": file_name,
            "reference": self.reference,
            "identifier": self.identifier,
            "retry_policy": RetryPolicy() if self.retries is None else self.retries.policy(),
            "priority": self.priority,
            "bypass_windows": self.bypass_windows,
            "has_brake": self.has_brake,
        }
        if self.agent_id is None:
            return ShipmentSettings(**said)
        return CallSettings(
            **said, agent_id=self.agent_id, creates_agent=False, from_numbers=self.from_numbers
        )


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """Describe a list in the document: a form with a file, or JSON with rows."""
    shape = model.model_json_schema(ref_template="#/components/schemas/{model}")
    named = shape.pop("$defs", {})
    fields = {name: _resolved(field, named) for name, field in shape["properties"].items()}
    file = {"type": "string", "format": "binary", "description": "behind all other fields"}
    rows = {"type": "array", "items": {"type": "object"}}
    needed = shape.get("required", [])
    return {
        "requestBody": {
            "required": True,
            "content": {
                media_type: {
                    "schema": {
                        "type": "object",
                        "properties": fields | {name: one},
                        "required": [*needed, name],
                        "additionalProperties": False,
                    }
                }
                for media_type, name, one in (
                    (FORM, "file", file),
                    ("application/json", "rows", rows),
                )
            },
        }
    }


def written_as_json(model: type[BaseModel]) -> frozenset[str]:
    """Return which fields of a form are written as JSON: those that are objects or lists."""
    shape = model.model_json_schema()
    named = shape.get("$defs", {})
    return frozenset(
        name
        for name, field in shape["properties"].items()
        if not {"object", "array"}.isdisjoint(_types(_resolved(field, named)))
    )


def _types(shape: dict[str, Any]) -> set[str]:
    inner = [*shape.get("anyOf", ()), *shape.get("allOf", ())]
    return {str(shape.get("type"))}.union(*map(_types, inner))


def _resolved(shape: Any, named: dict[str, Any]) -> Any:  # noqa: ANN401  # JSON
    """Put named shapes where they are used; the document names only those of answers."""
    if isinstance(shape, list):
        return [_resolved(one, named) for one in shape]
    if not isinstance(shape, dict):
        return shape
    if "$ref" in shape:
        return _resolved(named[shape["$ref"].rpartition("/")[2]], named)
    return {name: _resolved(one, named) for name, one in shape.items()}


async def options_of(request: Request, caller: Caller, said: Rows, *, kind: Kind) -> IntakeOptions:
    """Return how a list is read. Raises `InvalidRequest`, and `NotFound` for a mapping."""
    length = request.headers.get("content-length", "")
    is_file = FORM in request.headers.get("content-type", "")
    return IntakeOptions(
        columns=await mappings.find_columns(
            caller.db, team=caller.team, kind=kind, given=said.mapping, name=said.mapping_name
        ),
        sheet=said.sheet,
        # JSON is UTF-8, whatever is said.
        encoding=said.encoding if is_file else None,
        policy=said.policy,
        duplicates=said.duplicates,
        recent=said.recent,
        recent_days=said.recent_days,
        refuses_unassigned=caller.config.phone_check == "valid",
        refuses_same_file=said.refuses_same_file or caller.config.refuse_same_file,
        total_bytes=int(length) if length.isdecimal() else None,
        upload_id=said.upload_id,
    )
