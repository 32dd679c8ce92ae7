"""SQL expressions that write a call as the vendor does, contract section 7.

They speak of `b` (batches), `i` (items), `d` (item_data) and `w.word` (the status).
"""

from batchyard.api.bolna.sql_words import ITEM_WORD, sql_time
from batchyard.api.bolna.translate import UNKNOWN_MESSAGE

# What a provider did not tell is null. Costs are US cents, so another currency is not shown.
EXECUTION = f"""
json_build_object(
    'id', i.id,
    'agent_id', b.agent_id,
    'batch_id', CASE WHEN NOT b.is_single THEN replace(b.id::text, '-', '') END,
    'conversation_duration', d.result -> 'duration_seconds',
    'total_cost', CASE WHEN coalesce(d.result ->> 'currency', 'USD') = 'USD'
                       THEN d.result -> 'cost_minor' END,
    'status', w.word,
    'error_message', CASE WHEN i.phase = 'unknown' AND w.word = 'error' THEN '{UNKNOWN_MESSAGE}'
                          WHEN i.phase IN ('done', 'unknown') OR i.try > 1 THEN d.error_message END,
    'answered_by_voice_mail', d.result -> 'answered_by_voice_mail',
    'transcript', d.result -> 'transcript',
    'created_at', {sql_time("d.created_at")},
    'updated_at', {sql_time("i.updated_at")},
    'cost_breakdown', json_build_object(
        'llm', d.result #> '{{cost_breakdown,llm}}',
        'network', d.result #> '{{cost_breakdown,network}}',
        'platform', d.result #> '{{cost_breakdown,platform}}',
        'synthesizer', d.result #> '{{cost_breakdown,synthesizer}}',
        'transcriber', d.result #> '{{cost_breakdown,transcriber}}'),
    'telephony_data', json_build_object(
        'duration', d.result ->> 'duration_seconds',
        'to_number', d.number,
        'from_number', coalesce(d.from_number, b.from_numbers[
            1 + mod(coalesce(d.turn, d.position), nullif(cardinality(b.from_numbers), 0))]),
        'recording_url', d.result -> 'recording_url',
        'hosted_telephony', d.result -> 'hosted_telephony',
        'provider_call_id', d.provider_reference,
        'call_type', 'outbound',
        'provider', d.provider,
        'hangup_by', d.result -> 'hangup_by',
        'hangup_reason', d.result -> 'hangup_reason',
        'hangup_provider_code', d.result -> 'hangup_provider_code',
        'ring_duration', d.result -> 'ring_duration_seconds',
        'post_dial_delay', d.result -> 'post_dial_delay_seconds',
        'to_number_carrier', d.result -> 'to_number_carrier'),
    'transfer_call_data', d.result -> 'transfer_call_data',
    'batch_run_details', CASE WHEN NOT b.is_single THEN json_build_object(
        'status', w.word,
        'created_at', {sql_time("d.created_at")},
        'updated_at', {sql_time("i.updated_at")},
        'retried', i.try - 1) END,
    'extracted_data', d.result -> 'extracted_data',
    'context_details', json_build_object(
        'recipient_data', d.payload,
        'recipient_phone_number', d.number))::text
"""

# Keys that are there only when the batch has retries on.
RETRIES = f"""
CASE WHEN coalesce((b.retry_policy ->> 'max_retries')::int, 0) > 0 THEN json_build_object(
    'retry_count', i.try - 1,
    'retry_history', (
        SELECT coalesce(json_agg(json_build_object(
                   'attempt', a -> 'attempt', 'status', a -> 'status',
                   'at', {sql_time("(a ->> 'ended_at')::timestamptz")})
                   ORDER BY (a ->> 'attempt')::int), '[]')
          FROM jsonb_array_elements(d.attempts) AS a
         WHERE (a ->> 'attempt')::int < i.try),
    'scheduled_at', CASE
        WHEN w.word IN ('scheduled', 'rescheduled') AND i.status <> 'waiting'
            THEN {sql_time("i.due_at")}
        WHEN w.word = 'scheduled' THEN {sql_time("b.scheduled_at")} END)::text
END
"""

WORD = f"CROSS JOIN LATERAL (SELECT {ITEM_WORD} AS word) AS w"


def join_parts(execution: str, retries: str | None) -> str:
    """Put the keys that are there only with retries behind the others."""
    return execution if retries is None else f"{execution[:-1]}, {retries[1:]}"
