"""Measures what Batchyard can do, in the open: `python -m tools.bench`."""
