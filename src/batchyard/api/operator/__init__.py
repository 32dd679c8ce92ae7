"""The operator API: what both vendors' APIs lack."""
