"""What the exit codes of all commands mean; `docs/using-the-command-line.md` tells people."""

NOT_SO = 1
"""The command ran, and the answer is no: findings, declined, a batch that ended badly."""

REFUSED = 2
"""Wrong usage, a refusal, or nobody answers; one line at standard error says why."""

INTERRUPTED = 130
"""Ctrl-C."""
