"""The fake is like the real one: the vendor's own library is content with it, and so are its
types. The library repeats a dial by itself, so it also shows what the key is worth."""

import json
import time
from collections.abc import Iterator

import pytest
from telnyx import AuthenticationError, RateLimitError, Telnyx, UnprocessableEntityError

from batchyard.signing import sign_callback
from batchyard.testing import Arrived
from tests.providers.fakes.process import Fake
from tests.providers.fakes.telnyx_legs import API_KEY, CONNECTION, OWNED
from tests.providers.fakes.telnyx_types import judge_exchange, judge_webhook
from tests.providers.requests import make_call

TOKEN = sign_callback(b"k", item_id=make_call().item_id, attempt=1)
DIAL = {
    "connection_id": CONNECTION,
    "from_": OWNED,
    "to": "+4520100001",
    "client_state": "a2V5",
    "webhook_url": f"http://127.0.0.1:9/callbacks/{TOKEN}",
}


@pytest.fixture
def fake(telnyx_server: Fake) -> Iterator[Fake]:
    telnyx_server.change(step_seconds=60)
    yield telnyx_server
    assert telnyx_server.violations() == []


@pytest.fixture
def client(fake: Fake) -> Iterator[Telnyx]:
    with Telnyx(api_key=API_KEY, base_url=f"{fake.url}/v2", max_retries=2) as client:
        yield client


def test_library_dials_reads_lists_and_hangs_up(client: Telnyx) -> None:
    dialled = client.calls.dial(command_id="k.1", **DIAL).data  # type: ignore[arg-type]
    assert dialled is not None
    assert not dialled.is_alive
    shown = client.calls.retrieve_status(dialled.call_control_id).data
    assert shown is not None
    assert shown.is_alive
    listed = list(client.connections.list_active_calls(CONNECTION))
    assert [(leg.call_control_id, leg.client_state) for leg in listed] == [
        (dialled.call_control_id, "a2V5")
    ]
    client.calls.actions.hangup(dialled.call_control_id, command_id="k.1.end")
    deadline = time.monotonic() + 30
    while list(client.connections.list_active_calls(CONNECTION)):
        assert time.monotonic() < deadline


@pytest.mark.parametrize("key", ["k.2", None])
def test_library_repeats_a_dial_and_only_the_key_makes_it_one_call(
    key: str | None, client: Telnyx, fake: Fake
) -> None:
    fake.order("error_after")
    named = {} if key is None else {"command_id": key}
    client.calls.dial(**DIAL, **named)  # type: ignore[arg-type]
    assert list(fake.per_item().values()) == [1 if key else 2]


def test_library_reads_every_page(client: Telnyx) -> None:
    for n in range(45):
        client.calls.dial(command_id=f"p.{n}", **DIAL)  # type: ignore[arg-type]
    assert len(list(client.connections.list_active_calls(CONNECTION))) == 45


def test_library_reads_refusals(client: Telnyx, fake: Fake) -> None:
    with pytest.raises(UnprocessableEntityError) as caught:
        client.calls.dial(**{**DIAL, "to": "20100001"})  # type: ignore[arg-type]
    assert "10016" in str(caught.value)
    fake.order(*["busy_before"] * 3)
    with pytest.raises(RateLimitError):
        client.calls.dial(command_id="k.3", **DIAL)  # type: ignore[arg-type]
    with (
        Telnyx(api_key="KEY1", base_url=f"{fake.url}/v2", max_retries=0) as stranger,
        pytest.raises(AuthenticationError),
    ):
        stranger.balance.retrieve()


BODY = {"connection_id": "1", "from": OWNED, "to": "+4520100001"}
LEG = {
    "call_control_id": "v3:1",
    "call_leg_id": "1",
    "call_session_id": "1",
    "is_alive": False,
    "record_type": "call",
}


@pytest.mark.parametrize(
    "body,answer,fault",
    [
        (BODY, LEG, None),
        ({"connection_id": "1", "from": OWNED}, LEG, "to is missing"),
        (BODY | {"timeout_seconds": 5}, LEG, "timeout_seconds is no field"),
        (BODY | {"record": True}, LEG, "record: Input should be 'record-from-answer'"),
        (BODY | {"timeout_secs": "60"}, LEG, "timeout_secs: Input should be a valid integer"),
        (BODY | {"client_state": 7}, LEG, "client_state: Input should be a valid string"),
        (BODY, LEG | {"is_alive": "perhaps"}, "is_alive"),
        (BODY, {"record_type": "call"}, "call_control_id"),
    ],
)
def test_types_notice_what_is_wrong(
    body: dict[str, object], answer: dict[str, object], fault: str | None
) -> None:
    arrived = Arrived(method="POST", path="/v2/calls", body=json.dumps(body).encode())
    found = judge_exchange(arrived, 200, json.dumps({"data": answer}).encode())
    assert (fault is None) == (found == [])
    assert fault is None or fault in found[0]


def test_types_notice_a_webhook_that_is_wrong() -> None:
    event = {"data": {"event_type": "call.hangup", "payload": {"hangup_cause": "bored"}}}
    assert "hangup_cause" in judge_webhook("call.hangup", event)[0]
