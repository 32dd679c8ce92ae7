"""SQL, and nothing but: functions that take a connection and never commit."""
