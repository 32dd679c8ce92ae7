-- A remembered answer is given again in its own language, and says so.
-- depends: 0095.wait_noted

ALTER TABLE idempotency ADD COLUMN language text;

COMMENT ON COLUMN idempotency.language IS 'of the text in the body; null where the door has but one, and in answers of older builds';
