-- Batches, their items, and the counts that always balance.
-- depends: 0001.teams

CREATE TABLE batches (
    id               uuid PRIMARY KEY,
    team_id          bigint NOT NULL REFERENCES teams,
    kind             text NOT NULL CHECK (kind IN ('call', 'shipment')),
    state            text NOT NULL CHECK (state IN (
                         'importing', 'open', 'scheduled', 'queued', 'running', 'paused',
                         'stopped', 'completed', 'failed', 'cancelled')),
    is_single        boolean NOT NULL DEFAULT false,
    agent_id         uuid REFERENCES agents,
    file_name        text,
    reference        text,
    identifier       text,
    from_numbers     text[] NOT NULL DEFAULT '{}',
    webhook_url      text,
    retry_policy     jsonb NOT NULL DEFAULT '{}',
    bypass_windows   boolean NOT NULL DEFAULT false,
    priority         smallint NOT NULL DEFAULT 5 CHECK (priority BETWEEN 0 AND 9),
    columns          text[],
    total_rows       integer NOT NULL DEFAULT 0,
    refused_rows     integer NOT NULL DEFAULT 0,
    scheduled_at     timestamptz,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    imported_at      timestamptz,
    served_at        timestamptz,
    started_at       timestamptz,
    finished_at      timestamptz,
    deleted_at       timestamptz,
    restored_at      timestamptz,
    wait_reason      text,
    wait_until       timestamptz,
    CHECK (state <> 'scheduled' OR scheduled_at IS NOT NULL),
    CHECK (state NOT IN ('completed', 'failed') OR finished_at IS NOT NULL),
    -- An upload may name its agent after its file.
    CHECK (kind <> 'call' OR agent_id IS NOT NULL OR state = 'importing')
) WITH (fillfactor = 80);

COMMENT ON COLUMN batches.columns IS 'the header of the uploaded file, in its order';
COMMENT ON COLUMN batches.total_rows IS 'data rows of the upload that are not blank';
COMMENT ON COLUMN batches.imported_at IS 'last sign of life of an import';
COMMENT ON COLUMN batches.served_at IS 'when the batch was last admitted from; least recent goes first';

COMMENT ON COLUMN batches.restored_at IS 'the database came from a backup: keys may have been sent that it does not know of';

CREATE INDEX batches_listed ON batches (team_id, kind, created_at DESC, id DESC) INCLUDE (state)
    WHERE deleted_at IS NULL AND NOT is_single AND state NOT IN ('importing', 'cancelled');
CREATE INDEX batches_by_agent ON batches (agent_id, created_at DESC, id DESC)
    WHERE deleted_at IS NULL AND NOT is_single AND state <> 'importing';
CREATE INDEX batches_active ON batches (team_id, served_at NULLS FIRST)
    WHERE state IN ('queued', 'running');
CREATE INDEX batches_scheduled ON batches (scheduled_at) WHERE state = 'scheduled';
CREATE INDEX batches_importing ON batches (imported_at) WHERE state = 'importing';

-- Hot and narrow: what the engine moves. Everything wide is in item_data.
CREATE TABLE items (
    id           uuid PRIMARY KEY,
    batch_id     uuid NOT NULL REFERENCES batches,
    team_id      bigint NOT NULL,
    phase        text NOT NULL DEFAULT 'ready',
    status       text NOT NULL DEFAULT 'waiting',
    try          smallint NOT NULL DEFAULT 1 CHECK (try > 0),
    zone_set     smallint,
    provider_id  integer,
    lease        bigint NOT NULL DEFAULT 0,
    sends        smallint NOT NULL DEFAULT 0,
    worker_id    bigint,
    due_at       timestamptz NOT NULL,
    intent_at    timestamptz,
    deadline_at  timestamptz,
    updated_at   timestamptz NOT NULL,
    CONSTRAINT items_phase_status CHECK (
        (phase IN ('ready', 'claimed') AND status IN ('waiting', 'rescheduled', 'retrying'))
        OR (phase = 'calling' AND status = 'sending')
        OR (phase = 'live' AND status IN (
            'initiated', 'ringing', 'in-progress', 'call-disconnected', 'processing'))
        OR (phase = 'unknown' AND status = 'unknown')
        OR (phase = 'done' AND status IN (
            'completed', 'no-answer', 'busy', 'failed', 'error', 'canceled', 'stopped',
            'balance-low', 'booked'))),
    CONSTRAINT items_claimed_by CHECK (phase <> 'claimed' OR worker_id IS NOT NULL),
    CONSTRAINT items_intent CHECK (phase NOT IN ('calling', 'live', 'unknown') OR intent_at IS NOT NULL)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 0
);

CREATE INDEX items_ready ON items (batch_id, due_at, id) WHERE phase = 'ready';
CREATE INDEX items_in_flight ON items (team_id) WHERE phase IN ('claimed', 'calling', 'live');
CREATE INDEX items_at_provider ON items (provider_id) WHERE phase IN ('claimed', 'calling', 'live');
CREATE INDEX items_held ON items (worker_id) WHERE phase IN ('claimed', 'calling') AND worker_id IS NOT NULL;
CREATE INDEX items_overdue ON items (deadline_at) WHERE phase IN ('calling', 'live') AND worker_id IS NULL;
CREATE INDEX items_of_batch ON items (batch_id, id);
CREATE INDEX items_unknown ON items (batch_id, updated_at) WHERE phase = 'unknown';

COMMENT ON COLUMN items.deadline_at IS 'when to ask what became of the item, once no worker holds it';

-- Wide and written rarely: at intake, when a provider names a reference, at the end.
CREATE TABLE item_data (
    item_id             uuid PRIMARY KEY REFERENCES items ON DELETE CASCADE,
    batch_id            uuid NOT NULL,
    position            integer NOT NULL,
    number              text,
    from_number         text,
    reference           text,
    payload             jsonb NOT NULL,
    provider            text,
    provider_reference  text,
    result              jsonb,
    attempts            jsonb NOT NULL DEFAULT '[]',
    error_code          text,
    error_message       text,
    created_at          timestamptz NOT NULL,
    ended_at            timestamptz
);

COMMENT ON COLUMN item_data.position IS 'line of the uploaded file (its header is line 1), or index in the batch';
COMMENT ON COLUMN item_data.attempts IS 'history: [{attempt, key, status, sent_at, ended_at, reference, error_code, error_message}]';

CREATE INDEX item_data_of_batch ON item_data (batch_id, position);

CREATE TABLE documents (
    id          uuid PRIMARY KEY,
    item_id     uuid NOT NULL REFERENCES items ON DELETE CASCADE,
    kind        text NOT NULL CHECK (kind IN ('label', 'customs', 'other')),
    format      text NOT NULL CHECK (format IN ('pdf', 'zpl', 'png')),
    parcel      smallint,
    content     bytea NOT NULL,
    created_at  timestamptz NOT NULL
);

CREATE INDEX documents_of_item ON documents (item_id);

-- Rows that became no item, and remarks on rows that did: the row report.
CREATE TABLE rejected_rows (
    batch_id  uuid NOT NULL REFERENCES batches ON DELETE CASCADE,
    line      integer NOT NULL,
    code      text NOT NULL,
    reason    text NOT NULL,
    cells     jsonb NOT NULL,
    PRIMARY KEY (batch_id, line)
);

COMMENT ON COLUMN rejected_rows.line IS 'the header is line 1';

CREATE TABLE row_warnings (
    batch_id  uuid NOT NULL REFERENCES batches ON DELETE CASCADE,
    line      integer,
    code      text NOT NULL,
    reason    text NOT NULL
);

COMMENT ON COLUMN row_warnings.line IS 'null: the remark is about the whole upload';

CREATE INDEX row_warnings_of_batch ON row_warnings (batch_id, line);

-- Counts: kept by statement-level triggers, so no code path can forget them. No CHECK on n and
-- no cascade: within one statement order a count may pass through a negative value.
CREATE TABLE batch_counts (
    batch_id  uuid NOT NULL,
    phase     text NOT NULL,
    status    text NOT NULL,
    n         integer NOT NULL,
    PRIMARY KEY (batch_id, phase, status)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE FUNCTION items_count_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO batch_counts AS c (batch_id, phase, status, n)
    SELECT batch_id, phase, status, count(*) FROM new_items GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (batch_id, phase, status) DO UPDATE SET n = c.n + excluded.n;
    RETURN NULL;
END $$;

CREATE FUNCTION items_count_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO batch_counts AS c (batch_id, phase, status, n)
    SELECT batch_id, phase, status, -count(*) FROM old_items GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (batch_id, phase, status) DO UPDATE SET n = c.n + excluded.n;
    RETURN NULL;
END $$;

CREATE FUNCTION items_count_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO batch_counts AS c (batch_id, phase, status, n)
    SELECT batch_id, phase, status, sum(d)
      FROM (SELECT batch_id, phase, status, 1 AS d FROM new_items
            UNION ALL
            SELECT batch_id, phase, status, -1 FROM old_items) AS moved
     GROUP BY 1, 2, 3
    HAVING sum(d) <> 0
     ORDER BY 1, 2, 3
    ON CONFLICT (batch_id, phase, status) DO UPDATE SET n = c.n + excluded.n;
    RETURN NULL;
END $$;

CREATE TRIGGER items_count_inserted AFTER INSERT ON items
    REFERENCING NEW TABLE AS new_items
    FOR EACH STATEMENT EXECUTE FUNCTION items_count_inserted();
CREATE TRIGGER items_count_deleted AFTER DELETE ON items
    REFERENCING OLD TABLE AS old_items
    FOR EACH STATEMENT EXECUTE FUNCTION items_count_deleted();
CREATE TRIGGER items_count_updated AFTER UPDATE ON items
    REFERENCING OLD TABLE AS old_items NEW TABLE AS new_items
    FOR EACH STATEMENT EXECUTE FUNCTION items_count_updated();
