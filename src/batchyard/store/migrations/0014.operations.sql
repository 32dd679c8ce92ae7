-- What the rest of the operator API needs: work in several transactions under one key, and traces.
-- depends: 0013.privacy

ALTER TABLE idempotency
    DROP CONSTRAINT idempotency_check,
    ADD COLUMN done integer NOT NULL DEFAULT 0,
    -- Either the answer, or who works on it and until when that is believed.
    ADD CHECK (num_nulls(fingerprint, status, body) = 0 AND num_nulls(holder, held_until) = 2
            OR num_nulls(status, body) = 2 AND num_nulls(holder, held_until) = 0);

COMMENT ON COLUMN idempotency.done IS 'items done by the transactions before the last one, should that never come';

ALTER TABLE batches ADD COLUMN traceparent text;

COMMENT ON COLUMN batches.traceparent IS 'the span (W3C Trace Context) of the request that let the batch run; null where nothing is traced';
