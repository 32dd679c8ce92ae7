"""The signature on what Twilio tells us: HMAC-SHA1 over the address and the form; pure."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

STANDARD_PORTS = {"https": 443, "http": 80}

Pairs = Sequence[tuple[str, str]]


def sign(token: str, url: str, pairs: Pairs) -> str:
    """Return the signature of a form that is posted to a URL."""
    text = url + "".join(name + value for name, value in sorted(set(pairs)))
    mac = hmac.new(token.encode(), text.encode("utf-8", "surrogatepass"), hashlib.sha1)
    return base64.b64encode(mac.digest()).decode()


def is_signed(token: str, url: str, pairs: Pairs, signature: str) -> bool:
    """Tell whether a signature is right for the address that Twilio was given.

    It may have been made over the address with or without its port.
    """
    given = signature.encode()
    matches = [
        hmac.compare_digest(sign(token, one, pairs).encode(), given) for one in _spellings(url)
    ]
    return any(matches)


def _spellings(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    if parts.port is None:
        with_port = f"{parts.netloc}:{STANDARD_PORTS.get(parts.scheme, 80)}"
        return url, _with_netloc(parts, with_port)
    return url, _with_netloc(parts, parts.netloc.removesuffix(f":{parts.port}"))


def _with_netloc(parts: SplitResult, netloc: str) -> str:
    return parts._replace(netloc=netloc).geturl()
