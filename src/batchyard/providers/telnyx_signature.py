"""The signature on what Telnyx tells us: Ed25519 over time and body; pure."""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNATURE_HEADER = "telnyx-signature-ed25519"
TIMESTAMP_HEADER = "telnyx-timestamp"
TOLERANCE = timedelta(minutes=5)
KEY_BYTES = 32


def read_public_key(text: str) -> Ed25519PublicKey:
    """Read the account's public key in base64; raise `ValueError`."""
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("is no base64") from error
    if len(key) != KEY_BYTES:
        raise ValueError(f"has {len(key)} bytes; a public key has {KEY_BYTES}")
    return Ed25519PublicKey.from_public_bytes(key)


def is_signed(
    key: Ed25519PublicKey, headers: Mapping[str, str], body: bytes, *, now: datetime
) -> bool:
    """Tell whether a webhook is signed with this account's key, not long before or after `now`.

    Header names are in lower case.
    """
    stamp = headers.get(TIMESTAMP_HEADER, "")
    if not (stamp.isascii() and stamp.isdigit()):
        return False
    if abs(int(now.timestamp()) - int(stamp)) > TOLERANCE.total_seconds():
        return False
    try:
        # As leniently as the vendor's library: what counts is that the key fits.
        signature = base64.b64decode(headers.get(SIGNATURE_HEADER, ""))
        key.verify(signature, stamp.encode() + b"|" + body)
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return True
