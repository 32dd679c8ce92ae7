"""What is asked of each changing route, so that it is done: for the tests of the audit log."""

from dataclasses import dataclass, field
from typing import Any

from batchyard.models import BatchState, Kind, Phase
from tests.api.smartsend.conftest import make_shipment
from tests.providers.karrio_requests import SENDER

NUMBER = "+4520123456"
LISTED = "+4520000009"
"""A number that the team has on its lists: of those it calls from, and of those it never calls."""
CSV = "contact_number,first_name\n+4520123456,Ane\n"
ROWS = {"rows": [{"contact_number": NUMBER}]}
PASSWORD = "correct horse battery"  # of nobody
TOMORROW = "{tomorrow}"
"""Where a time is wanted that has not come."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deed:
    """One request, and the batch with one item that is made for it."""

    kind: Kind = Kind.CALL
    state: BatchState = BatchState.OPEN
    phase: Phase = Phase.READY
    status: str = "waiting"
    is_single: bool = False
    given: dict[str, Any] = field(default_factory=dict)
    """Of the request, as httpx takes it."""


def body(content: object, **said: Any) -> Deed:  # noqa: ANN401  # whatever a deed has
    return Deed(given={"json": content}, **said)


RUNNING = BatchState.RUNNING
FAILED: dict[str, Any] = {"phase": Phase.DONE, "status": "failed"}

OPERATOR: dict[tuple[str, str], Deed] = {
    ("POST", "/batches"): body({"kind": "shipment", "rows": [{"currency": "X"}]}),
    ("PATCH", "/batches/{batch_id}"): body({"priority": 7}),
    ("POST", "/batches/{batch_id}/rows"): body(ROWS),
    ("POST", "/batches/{batch_id}/mend"): body(ROWS),
    ("POST", "/batches/{batch_id}/dispatch"): Deed(),
    ("POST", "/batches/{batch_id}/pause"): Deed(state=RUNNING),
    ("POST", "/batches/{batch_id}/resume"): Deed(state=BatchState.PAUSED),
    ("POST", "/batches/{batch_id}/stop"): Deed(state=RUNNING),
    ("POST", "/batches/{batch_id}/cancel"): Deed(),
    ("POST", "/batches/{batch_id}/retry"): Deed(state=BatchState.COMPLETED, **FAILED),
    ("POST", "/resume-restored"): Deed(),
    ("POST", "/items/resolve"): body(
        {"as": "done", "all": True}, state=RUNNING, phase=Phase.UNKNOWN, status="unknown"
    ),
    ("PATCH", "/items/{item_id}"): body({"payload": {"first_name": "Bo"}}),
    ("POST", "/items/{item_id}/stop"): Deed(state=RUNNING),
    ("POST", "/items/{item_id}/retry"): Deed(state=BatchState.COMPLETED, **FAILED),
    ("POST", "/items/{item_id}/end"): Deed(state=RUNNING, phase=Phase.LIVE, status="ringing"),
    ("POST", "/contacts/do-not-contact"): body({"number": "+4520123499"}),
    ("PATCH", "/contacts/rules"): body({"attempts_per_day": 5}),
    ("PUT", "/mappings/{kind}/{name}"): body({"mapping": {"Mobil": "contact_number"}}),
    ("POST", "/numbers"): body({"numbers": ["+4520000001"]}),
    ("POST", "/agents"): body({"name": "Anna"}),
    ("PATCH", "/team"): body({"name": "North"}),
    ("PUT", "/sender"): body(SENDER),
    ("PUT", "/retention"): body({"items_days": 30}),
    ("PATCH", "/retention"): body({"events_days": 30}),
    ("POST", "/tokens"): body({"name": "till"}),
    ("POST", "/users"): body({"name": "Bo", "email": "bo@example.com"}),
    ("PUT", "/users/{user_id}/password"): body({"password": PASSWORD}),
    ("POST", "/webhooks/endpoints"): body({"url": "https://hooks.example.com/new"}),
    ("PATCH", "/webhooks/endpoints/{endpoint_id}"): body({"description": "new"}),
    ("POST", "/webhooks/endpoints/{endpoint_id}/test"): Deed(),
    ("POST", "/webhooks/secret/rotate"): Deed(),
    ("POST", "/webhooks/deliveries/{delivery_id}/redeliver"): Deed(),
    ("POST", "/webhooks/deliveries/redeliver"): Deed(),
    ("POST", "/privacy/export"): body({"number": "+4520777777"}),
    ("POST", "/privacy/erase"): body({"number": "+4520777777"}),
    # What takes away what others need comes last.
    ("DELETE", "/batches/{batch_id}"): Deed(),
    ("DELETE", "/contacts/do-not-contact/{number}"): Deed(),
    ("DELETE", "/mappings/{kind}/{name}"): Deed(),
    ("DELETE", "/numbers/{number}"): Deed(),
    ("DELETE", "/users/{user_id}"): Deed(),
    ("DELETE", "/tokens/{token_id}"): Deed(),
    ("DELETE", "/webhooks/endpoints/{endpoint_id}"): Deed(),
}

BOLNA: dict[tuple[str, str], Deed] = {
    ("POST", "/batches"): Deed(
        given={"data": {"agent_id": "{agent_id}"}, "files": {"file": ("l.csv", CSV, "text/csv")}}
    ),
    ("POST", "/batches/schedule"): Deed(
        given={"data": {"batch_id": "{batch_id}", "scheduled_at": TOMORROW}}
    ),
    ("POST", "/batches/{batch_id}/schedule"): Deed(given={"data": {"scheduled_at": TOMORROW}}),
    ("POST", "/batches/{batch_id}/stop"): Deed(state=RUNNING),
    ("DELETE", "/batches/{batch_id}"): Deed(),
    ("POST", "/call"): body({"agent_id": "{agent_id}", "recipient_phone_number": NUMBER}),
    ("POST", "/call/{execution_id}/stop"): Deed(state=RUNNING),
    ("POST", "/v2/agent"): body({"agent_config": {"agent_name": "Anna"}}),
    ("PUT", "/v2/agent/{agent_id}"): body({"agent_config": {"agent_name": "Bo"}}),
    ("PATCH", "/v2/agent/{agent_id}"): body({"agent_config": {"agent_name": "Bo"}}),
    ("POST", "/v2/agent/{agent_id}/stop"): Deed(state=RUNNING),
    ("DELETE", "/v2/agent/{agent_id}"): Deed(),
}

SHIPMENT = make_shipment()
SMARTSEND: dict[tuple[str, str], Deed] = {
    ("POST", "/booking-batches"): body({"reference": "Monday"}),
    ("POST", "/booking-batches/{batch}/shipments"): body({"data": [SHIPMENT]}, kind=Kind.SHIPMENT),
    ("POST", "/booking-batches/{batch}/dispatch"): Deed(kind=Kind.SHIPMENT),
    ("DELETE", "/booking-batches/{batch}"): Deed(kind=Kind.SHIPMENT),
    ("POST", "/shipments"): body(SHIPMENT),
    ("POST", "/shipments/{shipment}/booking"): Deed(
        kind=Kind.SHIPMENT, is_single=True, given={"headers": {"Prefer": "respond-async"}}
    ),
    ("DELETE", "/shipments/{shipment}"): Deed(kind=Kind.SHIPMENT, is_single=True),
}
