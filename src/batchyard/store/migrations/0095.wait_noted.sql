-- Why a batch waits has a date: what admission no longer looks at is not told for ever.
-- depends: 0080.batches_of_team

ALTER TABLE batches ADD COLUMN wait_noted_at timestamptz;

COMMENT ON COLUMN batches.wait_noted_at IS 'when admission last found that the reason holds; null of older ones, and where nobody admits';
