"""Single calls, and one call of any batch."""

from datetime import timedelta
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from batchyard import schedule
from batchyard.api.bolna import call_queries, document, wire_calls
from batchyard.api.bolna.gate import DoorRoute
from batchyard.api.bolna.keyed import Key, answer_once
from batchyard.api.bolna.requests import ExecutionId, json_of, known_id
from batchyard.api.bolna.speaker import Speaks
from batchyard.models import RetryPolicy
from batchyard.operations.agents import require_agent
from batchyard.operations.calls import NewCall, check_recipient, place_call
from batchyard.operations.calls import stop_call as stop_waiting_call
from batchyard.operations.traces import changing_item
from batchyard.operations.transactions import Transactions
from batchyard.schedule import ScheduleRules
from batchyard.store.db import Connection

AT_ANY_MOMENT = ScheduleRules(lead=timedelta(0), step=timedelta(0))
"""Marks and lead are rules of batches; a call is made when it is asked for."""

router = APIRouter(route_class=DoorRoute, tags=[document.CALLS])


@router.post(
    "/call",
    response_model=wire_calls.Placed,
    responses={200: document.OF_CALL, **document.faults(409, 413, 422)},
)
async def create_call(
    body: wire_calls.NewCall, request: Request, speaker: Speaks, _key: Key = None
) -> Response:
    """Make one call, now or at a time."""

    async def perform(db: Transactions) -> Response:
        team, now = speaker.team, db.clock()
        agent_id = known_id(body.agent_id, "agent")
        await require_agent(db, team=team, agent_id=agent_id)
        at = None
        if body.scheduled_at is not None:
            wanted = schedule.parse_time(body.scheduled_at)
            at = schedule.settle(wanted, rules=AT_ANY_MOMENT, now=now)
        recipient = await check_recipient(
            db,
            team=team,
            text=body.recipient_phone_number,
            refuses_unassigned=speaker.config.phone_check == "valid",
        )
        call = NewCall(
            agent_id=agent_id,
            recipient=recipient,
            from_numbers=[body.from_phone_number] if body.from_phone_number else [],
            variables=body.user_data or {},
            retry_policy=body.retry_config.policy() if body.retry_config else RetryPolicy(),
            bypass_windows=bool(body.bypass_call_guardrails),
            at=at if at is not None and at > now else None,
        )

        async def seal(conn: Connection, item_id: UUID) -> None:
            after = {"scheduled_at": call.at and call.at.isoformat()}
            await speaker.note(conn, "call.create", subject=item_id, after=after)

        item_id = await place_call(db, team=team, call=call, seal=seal)
        return JSONResponse({"message": "done", "status": "queued", "execution_id": str(item_id)})

    return await answer_once(request, speaker, body=await request.body(), perform=perform)


@router.post(
    "/call/{execution_id}/stop",
    response_model=wire_calls.Stopped,
    responses=document.faults(409, 413, 422),
)
async def stop_call(
    execution_id: ExecutionId, request: Request, speaker: Speaks, _key: Key = None
) -> Response:
    """Stop a call that was not made yet, of a batch or single; a retry is not made either."""

    async def perform(db: Transactions) -> Response:
        item_id = known_id(execution_id, "execution")
        async with changing_item(
            db, team=speaker.team, actor=speaker.actor, item_id=item_id, action="item.stop"
        ) as work:
            await stop_waiting_call(work, team=speaker.team, item_id=item_id)
        return JSONResponse({"message": "done", "status": "stopped", "execution_id": str(item_id)})

    return await answer_once(request, speaker, body=await request.body(), perform=perform)


@router.get(
    "/executions/{execution_id}", response_model=wire_calls.Execution, responses=document.faults()
)
async def read_execution(execution_id: ExecutionId, speaker: Speaks) -> Response:
    """Read one call, of a batch or single."""
    item_id = known_id(execution_id, "execution")
    body = await call_queries.read_execution(speaker.db, view=speaker.view(), item_id=item_id)
    return json_of(body, "execution")
