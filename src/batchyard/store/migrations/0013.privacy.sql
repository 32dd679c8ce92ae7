-- What becomes of batches told as events; how long things are kept; people who were erased.
-- depends: 0011.operator

-- By row, with WHEN: updates that change no state cost one comparison. No code path can forget it.
CREATE FUNCTION batches_tell_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO events (team_id, batch_id, type, data, at)
    VALUES (NEW.team_id, NEW.id,
            'batch.' || CASE
                WHEN TG_OP = 'INSERT' THEN 'created'
                WHEN OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL THEN 'deleted'
                WHEN OLD.state = 'importing' THEN 'imported'
                WHEN OLD.state = 'paused' AND NEW.state IN ('queued', 'running') THEN 'resumed'
                WHEN NEW.state = 'running' THEN 'started'
                WHEN NEW.state IN ('completed', 'failed') THEN 'ended'
                ELSE NEW.state END,
            jsonb_build_object('state', NEW.state, 'before', CASE TG_OP WHEN 'UPDATE' THEN OLD.state END,
                               'kind', NEW.kind, 'reason', NEW.wait_reason),
            NEW.updated_at);
    RETURN NULL;
END $$;

CREATE TRIGGER batches_tell_events_inserted AFTER INSERT ON batches
    FOR EACH ROW WHEN (NEW.state <> 'importing' AND NOT NEW.is_single)
    EXECUTE FUNCTION batches_tell_events();
CREATE TRIGGER batches_tell_events_updated AFTER UPDATE ON batches
    FOR EACH ROW WHEN (NOT NEW.is_single
                       AND (OLD.state <> NEW.state
                            OR OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL))
    EXECUTE FUNCTION batches_tell_events();

-- Only wakes who listens: what happened is in the rows.
CREATE FUNCTION events_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NOTIFY batchyard_events;
    RETURN NULL;
END $$;

CREATE TRIGGER events_notify AFTER INSERT ON events
    FOR EACH STATEMENT EXECUTE FUNCTION events_notify();

-- Days a team keeps things; null takes the default, which is stated in operations/retention.py.
CREATE TABLE retention (
    team_id           bigint PRIMARY KEY REFERENCES teams,
    items_days        integer CHECK (items_days > 0),
    transcripts_days  integer CHECK (transcripts_days > 0),
    documents_days    integer CHECK (documents_days > 0),
    events_days       integer CHECK (events_days > 0),
    webhooks_days     integer CHECK (webhooks_days BETWEEN 1 AND 30),
    updated_at        timestamptz NOT NULL
);

ALTER TABLE batches ADD COLUMN expired text[] NOT NULL DEFAULT '{}';

COMMENT ON COLUMN batches.expired IS 'what of it is no longer kept: items, transcripts, documents';

CREATE INDEX batches_finished ON batches (team_id, finished_at) WHERE finished_at IS NOT NULL;

-- In flight when their person was erased: they are erased once they have ended.
CREATE TABLE pending_erasures (
    item_id       uuid PRIMARY KEY REFERENCES items ON DELETE CASCADE,
    requested_at  timestamptz NOT NULL
);

-- The one exception to append-only: a person's data can be taken out of before and after.
CREATE OR REPLACE FUNCTION audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND current_setting('batchyard.erasing', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only';
END $$;
