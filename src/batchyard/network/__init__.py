"""Which addresses may be reached, and an HTTP client that reaches no others."""

from batchyard.network.addresses import (
    AddressNotAllowed,
    Unreachable,
    fault_of_url,
    is_allowed,
    resolve,
)
from batchyard.network.client import HttpClient, probe
from batchyard.network.sending import ConnectionLost, Response, Sending

__all__ = [
    "AddressNotAllowed",
    "ConnectionLost",
    "HttpClient",
    "Response",
    "Sending",
    "Unreachable",
    "fault_of_url",
    "is_allowed",
    "probe",
    "resolve",
]
