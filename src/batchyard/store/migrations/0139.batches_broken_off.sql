-- What batches have left that were stopped or cancelled is looked for every second.
-- depends: 0138.uploads_joining

CREATE INDEX batches_broken_off ON batches (id)
    WHERE deleted_at IS NULL AND (state = 'stopped' OR state = 'cancelled' AND NOT is_single);
