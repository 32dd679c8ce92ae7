"""The vendor's own types, which every request and answer of the fake is held against.

Telnyx publishes no specification that could be had; its library is generated from it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Required, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError
from telnyx.types import (
    BalanceRetrieveResponse,
    CallDialParams,
    CallDialResponse,
    CallRetrieveStatusResponse,
    ConnectionListActiveCallsResponse,
)
from telnyx.types.call_answered_webhook_event import CallAnsweredWebhookEvent
from telnyx.types.call_cost_webhook_event import CallCostWebhookEvent
from telnyx.types.call_hangup_webhook_event import CallHangupWebhookEvent
from telnyx.types.call_initiated_webhook_event import CallInitiatedWebhookEvent
from telnyx.types.call_machine_detection_ended_webhook_event import (
    CallMachineDetectionEndedWebhookEvent,
)
from telnyx.types.call_recording_saved_webhook_event import CallRecordingSavedWebhookEvent
from telnyx.types.call_speak_ended_webhook_event import CallSpeakEndedWebhookEvent
from telnyx.types.calls import ActionHangupParams, ActionSpeakParams

from batchyard.testing import Arrived

GAPS = (
    "no answer but success is described, so the shape of errors is judged by the library alone",
    "what a repeated key is answered is described nowhere, so it is not judged",
    "the library counts pages where the reference has cursors, so how a list goes on is not judged",
)
"""Where the types say less than the vendor does."""

WEBHOOKS: Mapping[str, type[BaseModel]] = {
    "call.initiated": CallInitiatedWebhookEvent,
    "call.answered": CallAnsweredWebhookEvent,
    "call.machine.detection.ended": CallMachineDetectionEndedWebhookEvent,
    "call.speak.ended": CallSpeakEndedWebhookEvent,
    "call.hangup": CallHangupWebhookEvent,
    "call.cost": CallCostWebhookEvent,
    "call.recording.saved": CallRecordingSavedWebhookEvent,
}


def judge_exchange(arrived: Arrived, status: int | None, answer: bytes) -> list[str]:
    """Say where an exchange breaks the types; no status: there was no answer."""
    path = arrived.path.partition("?")[0].removeprefix("/v2")
    faults = []
    if arrived.method == "POST" and (status is None or not 400 <= status <= 499):
        faults += _judge_body(path, json.loads(arrived.body))
    if status is not None and status < 400:
        faults += _judge_answer(arrived.method, path, json.loads(answer))
    return [f"{arrived.method} {path}: {fault}" for fault in faults]


def judge_webhook(kind: str, body: object) -> list[str]:
    """Say where a webhook breaks the types."""
    return [f"{kind}: {fault}" for fault in _faults(WEBHOOKS[kind], body)]


def _judge_body(path: str, body: Mapping[str, object]) -> list[str]:
    params: object = CallDialParams
    if path.endswith("/actions/speak"):
        params = ActionSpeakParams
    elif path.endswith("/actions/hangup"):
        params = ActionHangupParams
    known = _fields(params)
    needed = {name for name, one in known.items() if one.is_needed}
    faults = [f"{name} is no field of it" for name in sorted(body.keys() - known.keys())]
    faults += [f"{name} is missing" for name in sorted(needed - body.keys())]
    for name in sorted(body.keys() & known.keys()):
        faults += [f"{name}: {fault}" for fault in known[name].judge(body[name])]
    return faults


@dataclass(frozen=True, kw_only=True, slots=True)
class _Field:
    """What a request may say in one place."""

    adapter: TypeAdapter[Any]
    is_needed: bool

    def judge(self, value: object) -> list[str]:
        try:
            self.adapter.validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            return [fault["msg"] for fault in error.errors()]
        return []


@cache
def _fields(params: object) -> Mapping[str, _Field]:
    """Read the fields of a request, by the names that go over the wire."""
    known = {}
    for name, hint in get_type_hints(params, include_extras=True).items():
        is_needed = get_origin(hint) is Required
        bare = get_args(hint)[0] if is_needed else hint
        alias = name
        if get_origin(bare) is Annotated:
            bare, info = get_args(bare)[:2]
            alias = info.alias or name
        known[alias] = _Field(adapter=TypeAdapter(bare), is_needed=is_needed)
    return known


def _judge_answer(method: str, path: str, answer: Mapping[str, object]) -> list[str]:
    match method, path.strip("/").split("/"):
        case "POST", ["calls"]:
            return _faults(CallDialResponse, answer)
        case "GET", ["calls", _]:
            return _faults(CallRetrieveStatusResponse, answer)
        case "GET", ["balance"]:
            return _faults(BalanceRetrieveResponse, answer)
        case "GET", ["connections", _, "active_calls"]:
            data = answer["data"]
            assert isinstance(data, list)
            return [f for one in data for f in _faults(ConnectionListActiveCallsResponse, one)]
    return []


def _faults(model: type[BaseModel], value: object) -> list[str]:
    try:
        model.model_validate(value)
    except ValidationError as error:
        return [f"{e['loc']}: {e['msg']}" for e in error.errors()]
    return []
