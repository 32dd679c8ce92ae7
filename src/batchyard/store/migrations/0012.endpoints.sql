-- Webhook endpoints that listen to a whole team, to what they choose of it.
-- depends: 0011.operator

ALTER TABLE webhook_endpoints
    ADD COLUMN uuid          uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
    ADD COLUMN is_of_team    boolean NOT NULL DEFAULT false,
    ADD COLUMN description   text,
    ADD COLUMN events        text[],
    ADD COLUMN failing_since timestamptz,
    ADD COLUMN disabled_at   timestamptz,
    ADD CONSTRAINT webhook_endpoints_one_subject
        CHECK (num_nonnulls(agent_id, batch_id) + is_of_team::int <= 1);

COMMENT ON COLUMN webhook_endpoints.is_of_team IS 'listens to every item and every batch of the team';
COMMENT ON COLUMN webhook_endpoints.events IS 'types it wants, item.* and batch.* for all of a sort; null: all';
COMMENT ON COLUMN webhook_endpoints.disabled_at IS 'nothing is told there any more: by a person, or because it failed for days';

CREATE INDEX webhook_endpoints_of_team ON webhook_endpoints (team_id)
    WHERE is_of_team AND removed_at IS NULL;

CREATE FUNCTION webhook_endpoint_wants(events text[], type text) RETURNS boolean
    LANGUAGE sql IMMUTABLE AS $$
    SELECT events IS NULL OR type = ANY (events) OR split_part(type, '.', 1) || '.*' = ANY (events)
$$;

CREATE OR REPLACE FUNCTION items_tell_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM (SELECT DISTINCT batch_id FROM new_items) AS n
          JOIN batches b ON b.id = n.batch_id
          JOIN webhook_endpoints e ON e.agent_id = b.agent_id
         WHERE b.deleted_at IS NULL AND e.removed_at IS NULL)
       AND NOT EXISTS (
        SELECT FROM (SELECT DISTINCT team_id FROM new_items) AS n
          JOIN webhook_endpoints e ON e.team_id = n.team_id
         WHERE e.is_of_team AND e.removed_at IS NULL AND e.disabled_at IS NULL)
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
     CROSS JOIN LATERAL (
           SELECT a.id FROM webhook_endpoints a
            WHERE a.agent_id = b.agent_id AND a.removed_at IS NULL
            UNION ALL
           SELECT t.id FROM webhook_endpoints t
            WHERE t.team_id = n.team_id AND t.is_of_team AND t.removed_at IS NULL
              AND t.disabled_at IS NULL
              AND webhook_endpoint_wants(t.events, 'item.' || n.status)) AS e
      JOIN item_data d ON d.item_id = n.id
     WHERE b.deleted_at IS NULL
       AND n.status <> o.status
       -- Between these two nothing has happened that anybody sees.
       AND (n.status, o.status) NOT IN (('sending', 'waiting'), ('waiting', 'sending'))
     ORDER BY n.id, e.id;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION batches_tell_webhooks() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    told text := CASE NEW.state WHEN 'running' THEN 'batch.started'
                                WHEN 'stopped' THEN 'batch.stopped'
                                ELSE 'batch.ended' END;
BEGIN
    INSERT INTO webhook_deliveries
           (endpoint_id, team_id, batch_id, number, type, data, due_at, expires_at, created_at)
    SELECT e.id, NEW.team_id, NEW.id,
           1 + coalesce((SELECT max(t.number) FROM webhook_deliveries t
                          WHERE t.endpoint_id = e.id AND t.subject = NEW.id), 0),
           told,
           jsonb_build_object(
               'batch', to_jsonb(NEW) - 'columns' - 'retry_policy',
               'counts', (SELECT coalesce(jsonb_agg(jsonb_build_object('status', c.status, 'n', c.n)), '[]')
                            FROM batch_counts c WHERE c.batch_id = NEW.id AND c.n > 0)),
           NEW.updated_at, NEW.updated_at + interval '24 hours', NEW.updated_at
      FROM (SELECT b.id FROM webhook_endpoints b
             WHERE b.batch_id = NEW.id AND b.removed_at IS NULL
             UNION ALL
            SELECT t.id FROM webhook_endpoints t
             WHERE t.team_id = NEW.team_id AND t.is_of_team AND t.removed_at IS NULL
               AND t.disabled_at IS NULL AND NOT NEW.is_single
               AND webhook_endpoint_wants(t.events, told)) AS e;
    RETURN NULL;
END $$;

DROP TRIGGER batches_tell_webhooks ON batches;
CREATE TRIGGER batches_tell_webhooks AFTER UPDATE OF state ON batches
    FOR EACH ROW
    WHEN (OLD.state <> NEW.state AND NEW.deleted_at IS NULL
          AND NEW.state IN ('running', 'completed', 'failed', 'stopped')
          AND NOT (OLD.state = 'paused' AND NEW.state = 'running'))
    EXECUTE FUNCTION batches_tell_webhooks();
