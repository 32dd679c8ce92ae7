"""The history of an item's attempts, where another attempt is wanted after an end."""

WITH_ANSWER = """
CASE WHEN d.result <> '{{}}' AND d.attempts -> -1 -> 'attempt' = to_jsonb({attempt})
      AND NOT d.attempts -> -1 ?| '{{result,resolved_by}}'
     THEN jsonb_set(d.attempts, '{{-1,result}}', d.result - '{{batchyard,documents}}'::text[])
     ELSE d.attempts END
""".strip()
"""The attempts of `item_data` as `d`, the latest with its answer: the next end takes its place."""


def with_answer(attempt: str) -> str:
    """Return an expression for the history in which the attempt so numbered keeps its answer."""
    return WITH_ANSWER.format(attempt=attempt)
