"""A twilio provider over a fake, for tests."""

import json
from datetime import UTC, datetime

from batchyard.models import Request
from batchyard.providers.base import Surroundings
from batchyard.providers.twilio import TwilioProvider
from batchyard.signing import sign_callback
from tests.providers.fakes.process import Fake
from tests.providers.fakes.twilio_calls import TOKEN
from tests.providers.telephony import PATIENT_SECONDS, twilio_settings

BASE = "https://yard.example/callbacks"


def address(request: Request) -> str:
    """Return the address that news of a request is taken at."""
    return f"{BASE}/{sign_callback(b'k', item_id=request.item_id, attempt=request.attempt)}"


def make_provider(fake: Fake, *, secret: str | None = None, **changes: object) -> TwilioProvider:
    """Open a provider whose other side is the fake, and none of its answers too slow."""
    return TwilioProvider(
        Surroundings(
            name="phone",
            clock=lambda: datetime.now(UTC),
            report=lambda _key, _answer: None,
            settings=twilio_settings(
                fake,
                **{"say": "Hello {first_name}.", "timeout_seconds": PATIENT_SECONDS, **changes},
            ),
            secret=json.dumps({"auth_token": TOKEN}) if secret is None else secret,
            allow_private=True,
            callback_address=address,
        )
    )
