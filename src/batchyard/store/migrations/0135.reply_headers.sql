-- A remembered answer is given again with its headers.
-- depends: 0132.all_batches_of_team

ALTER TABLE idempotency ADD COLUMN headers jsonb;

COMMENT ON COLUMN idempotency.headers IS 'those of the answer that its door says again, by name; null: none, and in answers of older builds';
