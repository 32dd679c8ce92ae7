"""The telephone numbers the team calls from."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from batchyard.api.operator.access import ADMIN, READ, Caller
from batchyard.api.operator.keyed import KeyedRoute
from batchyard.operations import numbers
from batchyard.operations.transactions import one_transaction
from batchyard.store.numbers import NumberRow

router = APIRouter(tags=["Team"], route_class=KeyedRoute)

Number = Annotated[str, Field(max_length=40, examples=["+4520123456"])]


class NewNumbers(BaseModel):
    """Numbers to call from."""

    model_config = ConfigDict(extra="forbid")

    numbers: list[Number] = Field(min_length=1, max_length=1000)
    agent_id: UUID | None = Field(default=None, description="who alone calls from them; null: all")


class NumberShown(BaseModel):
    """A number, and whose it is."""

    number: str
    agent_id: UUID | None
    created_at: datetime


Numbers = dict[str, list[NumberShown]]


@router.get("/numbers")
async def list_numbers(caller: Annotated[Caller, READ]) -> Numbers:
    """List the numbers the team calls from."""
    return await _numbers(caller)


@router.post("/numbers", status_code=201)
async def add_numbers(caller: Annotated[Caller, ADMIN], new: NewNumbers) -> Numbers:
    """Let the team call from numbers, all or none; one it has already changes its agent."""
    async with one_transaction(caller.work) as work:
        known = await numbers.put_numbers(
            work, team=caller.team, texts=new.numbers, agent_id=new.agent_id
        )
        await caller.note(
            work.connection,
            "numbers.add",
            before={"numbers": [_told(row) for row in known]},
            after=new.model_dump(mode="json"),
        )
    return await _numbers(caller)


@router.delete("/numbers/{number}", status_code=204)
async def remove_number(
    caller: Annotated[Caller, ADMIN], number: Annotated[str, Path(max_length=40)]
) -> Response:
    """Take a number away; batches that were given it keep it."""
    async with one_transaction(caller.work) as work:
        removed = await numbers.remove_number(work, team=caller.team, number=number)
        await caller.note(
            work.connection,
            "numbers.remove",
            subject=number,
            before=_told(removed),
            after={"is_removed": True},
        )
    return Response(status_code=204)


def _told(row: NumberRow) -> dict[str, str | None]:
    agent_id = None if row.agent_id is None else str(row.agent_id)
    return {"number": row.number, "agent_id": agent_id}


async def _numbers(caller: Caller) -> Numbers:
    rows = await numbers.list_numbers(caller.work, team=caller.team)
    return {"data": [NumberShown.model_validate(asdict(row)) for row in rows]}
