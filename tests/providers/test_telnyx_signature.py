"""Our check of signatures agrees with the vendor's own, on random bodies, headers and times."""

import base64
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey
from telnyx.lib.webhook_verification import WebhookVerificationError, verify_webhook_signature

from batchyard.providers.telnyx_signature import is_signed, read_public_key

KEY, OTHER = SigningKey(bytes(range(32))), SigningKey(bytes(range(1, 33)))
PUBLIC = base64.b64encode(bytes(KEY.verify_key)).decode()

bodies = st.text(max_size=200).map(str.encode)
shifts = st.sampled_from([0, 1, -1, 200, -200, 400, -400, 10**6])


def sign(key: SigningKey, stamp: str, body: bytes) -> str:
    return base64.b64encode(key.sign(stamp.encode() + b"|" + body).signature).decode()


def vendor_believes(headers: dict[str, str], body: bytes) -> bool:
    try:
        verify_webhook_signature(body, headers, PUBLIC)
    except WebhookVerificationError:
        return False
    return True


def we_believe(headers: dict[str, str], body: bytes) -> bool:
    now = datetime.now(UTC)
    return is_signed(read_public_key(PUBLIC), headers, body, now=now)


@settings(max_examples=120)
@given(
    body=bodies,
    arrived=bodies,
    shift=shifts,
    by_us=st.booleans(),
    is_same=st.booleans(),
    spoiled=st.sampled_from(["", "x", "=", "AAAA"]),
)
def test_both_believe_and_refuse_alike(
    *, body: bytes, arrived: bytes, shift: int, by_us: bool, is_same: bool, spoiled: str
) -> None:
    stamp = str(int(time.time()) + shift)
    signature = sign(KEY if by_us else OTHER, stamp, body) + spoiled
    headers = {"telnyx-signature-ed25519": signature, "telnyx-timestamp": stamp}
    told = body if is_same else arrived
    assert we_believe(headers, told) == vendor_believes(headers, told)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"telnyx-timestamp": "1"},
        {"telnyx-signature-ed25519": "YQ==", "telnyx-timestamp": str(int(time.time()))},
        {"telnyx-signature-ed25519": sign(KEY, "soon", b"{}"), "telnyx-timestamp": "soon"},
        {"telnyx-signature-ed25519": "æ", "telnyx-timestamp": str(int(time.time()))},
    ],
)
def test_what_is_not_signed_is_refused_by_both(headers: dict[str, str]) -> None:
    assert not we_believe(headers, b"{}")
    assert not vendor_believes(headers, b"{}")


@pytest.mark.parametrize("text", ["", "%%%", "YQ==", PUBLIC[:-4]])
def test_public_key_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64|bytes"):
        read_public_key(text)
