-- When a provider was changed: what was sent just after may still have been as before.
-- depends: 0040.overdue

ALTER TABLE providers ADD COLUMN changed_at timestamptz;

COMMENT ON COLUMN providers.changed_at IS 'when its settings or its secret were last said anew; null: never';
