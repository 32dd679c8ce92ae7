"""Which addresses may be reached, and an HTTP client that reaches no others."""

from batchyard.network.addresses import AddressNotAllowed, fault_of_url, is_allowed, resolve
from batchyard.network.client import open_client, probe

__all__ = [
    "AddressNotAllowed",
    "fault_of_url",
    "is_allowed",
    "open_client",
    "probe",
    "resolve",
]
