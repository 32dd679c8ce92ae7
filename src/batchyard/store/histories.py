"""What belongs to which of an item's attempts, where another one is wanted after an end."""

UNANSWERED = "('ready', 'claimed', 'calling')"
"""The phases in which nobody has said anything to an item's key: until then the result of the
attempt before it stays."""

WITH_ANSWER = """
CASE WHEN d.result <> '{{}}' AND d.attempts -> -1 -> 'attempt' = to_jsonb({attempt})
      AND NOT d.attempts -> -1 ?| '{{result,resolved_by}}'
     THEN jsonb_set(d.attempts, '{{-1,result}}', d.result - '{{batchyard,documents}}'::text[])
     ELSE d.attempts END
""".strip()
"""The attempts of `item_data` as `d`, the latest with its answer: the next end takes its place."""


def own_result(phase: str) -> str:
    """Return an expression for the result in `item_data` as `d`, where it is of the current key."""
    return f"CASE WHEN {phase} NOT IN {UNANSWERED} THEN d.result END"


def with_answer(attempt: str) -> str:
    """Return an expression for the history in which the attempt so numbered keeps its answer."""
    return WITH_ANSWER.format(attempt=attempt)
