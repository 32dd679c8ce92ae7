-- A batch that was paused before anything of it was sent tells its start when it is resumed.
-- depends: 0034.paused_by

-- Resumed is not started, except where the resuming is what started it.
DROP TRIGGER batches_tell_webhooks ON batches;
CREATE TRIGGER batches_tell_webhooks AFTER UPDATE OF state ON batches
    FOR EACH ROW
    WHEN (OLD.state <> NEW.state AND NEW.deleted_at IS NULL
          AND NEW.state IN ('running', 'completed', 'failed', 'stopped')
          AND NOT (OLD.state = 'paused' AND NEW.state = 'running'
                   AND (OLD.started_at IS NOT NULL OR NEW.started_at IS NULL)))
    EXECUTE FUNCTION batches_tell_webhooks();
