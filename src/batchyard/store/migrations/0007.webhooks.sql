-- Webhooks: who listens, what is to be told, and each try to tell it.
-- depends: 0006.bolna

-- Kept as they are: they prove to a receiver that we speak, and open nothing here.
CREATE TABLE webhook_secrets (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    team_id     bigint NOT NULL REFERENCES teams,
    secret      bytea NOT NULL,
    created_at  timestamptz NOT NULL,
    retired_at  timestamptz
);

CREATE INDEX webhook_secrets_in_use ON webhook_secrets (team_id) WHERE retired_at IS NULL;

CREATE TABLE webhook_endpoints (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    team_id     bigint NOT NULL REFERENCES teams,
    url         text NOT NULL,
    format      text NOT NULL,
    agent_id    uuid UNIQUE REFERENCES agents,
    batch_id    uuid UNIQUE REFERENCES batches ON DELETE CASCADE,
    failures    integer NOT NULL DEFAULT 0,
    resume_at   timestamptz NOT NULL DEFAULT '-infinity',
    tried_at    timestamptz NOT NULL DEFAULT '-infinity',
    created_at  timestamptz NOT NULL,
    removed_at  timestamptz,
    CHECK (num_nonnulls(agent_id, batch_id) <= 1)
);

COMMENT ON COLUMN webhook_endpoints.format IS 'whose words the bodies are in: a door and its version';
COMMENT ON COLUMN webhook_endpoints.agent_id IS 'listens to every item of the agent';
COMMENT ON COLUMN webhook_endpoints.batch_id IS 'listens to the start and the end of the batch';
COMMENT ON COLUMN webhook_endpoints.failures IS 'tries that failed since the last that did not';
COMMENT ON COLUMN webhook_endpoints.tried_at IS 'least recent goes first';
COMMENT ON COLUMN webhook_endpoints.resume_at IS 'an endpoint that keeps failing is left alone until then';

CREATE TABLE webhook_deliveries (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    endpoint_id  bigint NOT NULL REFERENCES webhook_endpoints ON DELETE CASCADE,
    team_id      bigint NOT NULL,
    batch_id     uuid NOT NULL,
    item_id      uuid,
    subject      uuid NOT NULL GENERATED ALWAYS AS (coalesce(item_id, batch_id)) STORED,
    number       integer NOT NULL,
    type         text NOT NULL,
    data         jsonb NOT NULL,
    state        text NOT NULL DEFAULT 'pending'
                     CHECK (state IN ('pending', 'sending', 'delivered', 'failed', 'dropped')),
    attempts     integer NOT NULL DEFAULT 0,
    due_at       timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    created_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    CHECK ((ended_at IS NULL) = (state IN ('pending', 'sending')))
);

COMMENT ON COLUMN webhook_deliveries.number IS 'counts what was told of one item, or of one batch, from 1';
COMMENT ON COLUMN webhook_deliveries.data IS 'what was true when it happened; the body is made of it';
COMMENT ON COLUMN webhook_deliveries.due_at IS 'while sending: when the sender is taken for dead';

CREATE INDEX webhook_deliveries_open ON webhook_deliveries (endpoint_id, due_at)
    WHERE ended_at IS NULL;
CREATE INDEX webhook_deliveries_in_order ON webhook_deliveries (endpoint_id, subject, number);
CREATE INDEX webhook_deliveries_of_team ON webhook_deliveries (team_id, created_at DESC);
CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE webhook_attempts (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    delivery_id   uuid NOT NULL REFERENCES webhook_deliveries ON DELETE CASCADE,
    at            timestamptz NOT NULL,
    duration_ms   integer NOT NULL,
    status        smallint,
    error         text
);

CREATE INDEX webhook_attempts_of_delivery ON webhook_attempts (delivery_id, id);

-- Statement-level like the counts, and for the same reason: no code path can forget to tell. A
-- batch to which nobody listens costs one look-up a statement. What was true is kept in the row,
-- so a late delivery still says what happened, not what became of it since.
CREATE FUNCTION items_tell_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM (SELECT DISTINCT batch_id FROM new_items) AS n
          JOIN batches b ON b.id = n.batch_id
          JOIN webhook_endpoints e ON e.agent_id = b.agent_id
         WHERE b.deleted_at IS NULL AND e.removed_at IS NULL)
    THEN
        RETURN NULL;
    END IF;
    INSERT INTO webhook_deliveries
           (endpoint_id, team_id, batch_id, item_id, number, type, data,
            due_at, expires_at, created_at)
    SELECT e.id, n.team_id, n.batch_id, n.id,
           1 + coalesce((SELECT max(t.number) FROM webhook_deliveries t
                          WHERE t.endpoint_id = e.id AND t.subject = n.id), 0),
           'item.' || n.status,
           jsonb_build_object(
               'batch', jsonb_build_object('state', b.state),
               'item', jsonb_build_object(
                   'phase', n.phase, 'status', n.status, 'try', n.try, 'due_at', n.due_at,
                   'updated_at', n.updated_at),
               'item_data', jsonb_build_object(
                   'provider', d.provider, 'provider_reference', d.provider_reference,
                   'result', d.result, 'attempts', d.attempts, 'error_code', d.error_code,
                   'error_message', d.error_message, 'ended_at', d.ended_at)),
           n.updated_at, n.updated_at + interval '24 hours', n.updated_at
      FROM new_items n
      JOIN old_items o ON o.id = n.id
      JOIN batches b ON b.id = n.batch_id
      JOIN webhook_endpoints e ON e.agent_id = b.agent_id
      JOIN item_data d ON d.item_id = n.id
     WHERE b.deleted_at IS NULL AND e.removed_at IS NULL
       AND n.status <> o.status
       -- Between these two nothing has happened that anybody sees.
       AND (n.status, o.status) NOT IN (('sending', 'waiting'), ('waiting', 'sending'))
     ORDER BY n.id;
    RETURN NULL;
END $$;

CREATE TRIGGER items_tell_webhooks AFTER UPDATE ON items
    REFERENCING OLD TABLE AS old_items NEW TABLE AS new_items
    FOR EACH STATEMENT EXECUTE FUNCTION items_tell_webhooks();

CREATE FUNCTION batches_tell_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO webhook_deliveries
           (endpoint_id, team_id, batch_id, number, type, data, due_at, expires_at, created_at)
    SELECT e.id, NEW.team_id, NEW.id,
           1 + coalesce((SELECT max(t.number) FROM webhook_deliveries t
                          WHERE t.endpoint_id = e.id AND t.subject = NEW.id), 0),
           CASE NEW.state WHEN 'running' THEN 'batch.started'
                          WHEN 'stopped' THEN 'batch.stopped'
                          ELSE 'batch.ended' END,
           jsonb_build_object(
               'batch', to_jsonb(NEW) - 'columns' - 'retry_policy',
               'counts', (SELECT coalesce(jsonb_agg(jsonb_build_object('status', c.status, 'n', c.n)), '[]')
                            FROM batch_counts c WHERE c.batch_id = NEW.id AND c.n > 0)),
           NEW.updated_at, NEW.updated_at + interval '24 hours', NEW.updated_at
      FROM webhook_endpoints e
     WHERE e.batch_id = NEW.id AND e.removed_at IS NULL;
    RETURN NULL;
END $$;

CREATE TRIGGER batches_tell_webhooks AFTER UPDATE OF state ON batches
    FOR EACH ROW
    WHEN (OLD.state <> NEW.state AND NEW.webhook_url IS NOT NULL AND NEW.deleted_at IS NULL
          AND NEW.state IN ('running', 'completed', 'failed', 'stopped')
          AND NOT (OLD.state = 'paused' AND NEW.state = 'running'))
    EXECUTE FUNCTION batches_tell_webhooks();
