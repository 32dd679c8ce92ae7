"""What stands in the place of what was taken out: a person's erasure, or the end of retention."""

ERASED = '{"erased": true}'
EXPIRED = '{"expired": true}'
TAKEN_OUT = f"('{ERASED}', '{EXPIRED}')"
"""Payloads of items that are not sent again, whatever comes: nothing is left to send."""
