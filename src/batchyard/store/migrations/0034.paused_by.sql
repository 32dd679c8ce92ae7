-- Who paused a batch.
-- depends: 0032.turns

ALTER TABLE batches ADD COLUMN paused_by text;

COMMENT ON COLUMN batches.paused_by IS 'who paused it, as the audit log names them; null of older pauses, and unless a person did';
