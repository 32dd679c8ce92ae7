"""What the document cannot say: keys are used once, what a team can send by, how long lines are."""

import re
import uuid
from typing import Any

import schemathesis

MAX_CODE_LENGTH = 255
TOO_MANY = 1001
"""One more than a query may name. With thousands an address is longer than 64 KiB, and is refused
by what takes HTTP apart, before there is a door."""
KEY = re.compile(r"[A-Za-z0-9._-]{16,128}", re.ASCII)


@schemathesis.hook
def before_call(context: Any, case: Any, **_options: Any) -> None:  # noqa: ANN401  # its own types
    """Make a key unique, name a carrier and a service that exist, and keep an address short."""
    del context
    if _lacks_token(case):
        return
    for name, value in dict(case.headers or {}).items():
        is_key = name.lower() == "idempotency-key" and isinstance(value, str)
        if is_key and KEY.fullmatch(value):
            case.headers[name] = str(uuid.uuid4())
    for name, values in dict(case.query or {}).items():
        if isinstance(values, list):
            case.query[name] = values[:TOO_MANY]
    body = case.body
    if isinstance(body, dict):
        listed = body.get("data")
        for shipment in [body, *(listed if isinstance(listed, list) else ())]:
            _choose(shipment)


def _lacks_token(case: Any) -> bool:  # noqa: ANN401  # as above
    """Tell whether a case is the one without a token; one that was changed is given it again."""
    data = case.meta.phase.data if case.meta is not None else None
    return getattr(data, "parameter", None) == "Authorization"


def _choose(shipment: object) -> None:
    delivery = shipment.get("delivery") if isinstance(shipment, dict) else None
    if not isinstance(delivery, dict):
        return
    codes = (delivery.get("carrier"), delivery.get("service"))
    if all(isinstance(c, str) and 1 <= len(c) <= MAX_CODE_LENGTH and "\0" not in c for c in codes):
        delivery |= {"carrier": "gls", "service": "home"}
