"""Addresses that prove themselves: what they are about, and a MAC over it."""

import base64
import binascii
import hashlib
import hmac
from uuid import UUID

MAC_BYTES = 16
ATTEMPT_BYTES = 2


def sign_callback(secret: bytes, *, item_id: UUID, attempt: int) -> str:
    """Return the token of a callback address; it can only be made with `secret`."""
    return sign(secret, item_id.bytes + attempt.to_bytes(ATTEMPT_BYTES, "big"))


def read_callback(secret: bytes, token: str) -> tuple[UUID, int] | None:
    """Return item and attempt of a token, or None when it was not made here."""
    body = read(secret, token, length=16 + ATTEMPT_BYTES)
    if body is None:
        return None
    return UUID(bytes=body[:16]), int.from_bytes(body[16:], "big")


def sign(secret: bytes, body: bytes) -> str:
    """Return a token that carries `body` and can only be made with `secret`."""
    return _encode(body + _mac(secret, body))


def read(secret: bytes, token: str, *, length: int) -> bytes | None:
    """Return the body of a token, so many bytes, or None when it was not made with `secret`."""
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        return None
    # Base64 reads several tokens as the same bytes; only one of them was made here.
    if _encode(raw) != token:
        return None
    body, mac = raw[:length], raw[length:]
    if len(body) != length or not hmac.compare_digest(mac, _mac(secret, body)):
        return None
    return body


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _mac(secret: bytes, body: bytes) -> bytes:
    return hmac.new(secret, body, hashlib.sha256).digest()[:MAC_BYTES]
