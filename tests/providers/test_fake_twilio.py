"""The fake is like the real one: the vendor's own library is content with it, and so is its
specification."""

from collections.abc import Iterator

import httpx
import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import HttpClient
from twilio.http.response import Response
from twilio.rest import Client

from batchyard.testing import Arrived
from tests.providers.fakes import specification
from tests.providers.fakes.process import Fake
from tests.providers.fakes.specification import MISSING, Specification
from tests.providers.fakes.twilio_calls import ACCOUNT, OWNED, TOKEN

SAYING = {"from_": OWNED, "twiml": "<Response/>"}


class Loopback(HttpClient):  # type: ignore[misc]  # the library has no types
    """Carries the library's requests to the fake."""

    def __init__(self, url: str) -> None:
        super().__init__(None, is_async=False, timeout=10)
        self._url = url
        self._client = httpx.Client(trust_env=False, timeout=30)

    def request(self, method: str, url: str, *given: object, **named: object) -> Response:
        """Send what the library hands over by position: parameters, form, headers, credentials."""
        params, data, headers, auth = (*given, None, None, None, None)[:4]
        answer = self._client.request(
            method,
            url.replace("https://api.twilio.com", self._url),
            params=named.get("params", params),  # type: ignore[arg-type]
            data=named.get("data", data),  # type: ignore[arg-type]
            headers=named.get("headers", headers),  # type: ignore[arg-type]
            auth=named.get("auth", auth),  # type: ignore[arg-type]
        )
        return Response(answer.status_code, answer.text)

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def client(twilio_server: Fake) -> Iterator[Client]:
    twilio_server.change(step_seconds=60)
    carrier = Loopback(twilio_server.url)
    yield Client(ACCOUNT, TOKEN, http_client=carrier)
    carrier.close()
    assert twilio_server.violations() == []


def test_library_creates_reads_and_ends_a_call(client: Client) -> None:
    call = client.calls.create(
        to="+4520100001", status_callback_event=["initiated", "completed"], record=True, **SAYING
    )
    assert (call.status, call.to, call.direction) == ("queued", "+4520100001", "outbound-api")
    assert call.date_created is not None
    again = client.calls(call.sid).fetch()
    assert again.sid == call.sid
    ended = client.calls(call.sid).update(status="canceled")
    assert ended.status == "canceled"
    with pytest.raises(TwilioRestException) as caught:
        client.calls(call.sid).update(status="completed")
    assert (caught.value.code, caught.value.status) == (21220, 400)


def test_library_reads_every_page(client: Client) -> None:
    placed = {client.calls.create(to="+4520100002", **SAYING).sid for _ in range(7)}
    client.calls.create(to="+4520100003", **SAYING)
    listed = client.calls.list(to="+4520100002", page_size=3)
    assert {call.sid for call in listed} == placed
    assert client.calls.list(to="+4520100002", status="completed") == []


@pytest.mark.parametrize(
    "to,code", [("+15005550001", 21211), ("+15005550004", 21216), ("x", 21211)]
)
def test_library_reads_a_refusal(to: str, code: int, client: Client) -> None:
    with pytest.raises(TwilioRestException) as caught:
        client.calls.create(to=to, **SAYING)
    assert (caught.value.code, caught.value.status) == (code, 400)


def test_library_reads_wrong_credentials_and_calls_that_are_not(
    client: Client, twilio_server: Fake
) -> None:
    with pytest.raises(TwilioRestException) as caught:
        client.calls("CA" + "0" * 32).fetch()
    assert (caught.value.code, caught.value.status) == (20404, 404)
    carrier = Loopback(twilio_server.url)
    with pytest.raises(TwilioRestException) as caught:
        Client(ACCOUNT, "wrong", http_client=carrier).calls("CA" + "0" * 32).fetch()
    carrier.close()
    assert (caught.value.code, caught.value.status) == (20003, 401)


@pytest.fixture(scope="module")
def judge() -> Specification:
    found = specification.find()
    if found is None:
        pytest.skip(MISSING)
    return found


PATH = f"/2010-04-01/Accounts/{ACCOUNT}/Calls.json"
FORM = "application/x-www-form-urlencoded"
GOOD = b"To=%2B4520100001&From=%2B4570203040&Twiml=x&StatusCallbackEvent=a&StatusCallbackEvent=b"
CALL = b'{"sid": "CA11111111111111111111111111111111", "status": "queued"}'


@pytest.mark.parametrize(
    "body,answer,fault",
    [
        (GOOD, CALL, None),
        (b"From=%2B4570203040&Twiml=x", CALL, "'To' is a required property"),
        (GOOD + b"&Timeout=soon", CALL, "integer"),
        (GOOD + b"&TimeLimits=5", CALL, "TimeLimits is no field"),
        (GOOD, b'{"sid": "CA1"}', "CA1"),
        (GOOD, CALL.replace(b"queued", b"won"), "won"),
    ],
)
def test_specification_notices_what_is_wrong(
    body: bytes, answer: bytes, fault: str | None, judge: Specification
) -> None:
    headers = {"content-type": FORM, "authorization": "Basic eDp5"}
    arrived = Arrived(method="POST", path=PATH, headers=headers, body=body)
    found = judge.judge(arrived, 201, answer)
    assert (fault is None) == (found == [])
    assert fault is None or fault in found[0]
