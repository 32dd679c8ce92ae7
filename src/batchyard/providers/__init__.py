"""Providers do items in the outside world; found by the entry point group `batchyard.providers`."""
