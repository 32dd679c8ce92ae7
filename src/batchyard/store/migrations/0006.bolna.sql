-- What the Bolna door keeps: whole agents, phone numbers, remembered answers, deleted batches.
-- depends: 0004.providers

ALTER TABLE agents ADD COLUMN extra jsonb NOT NULL DEFAULT '{}';

COMMENT ON COLUMN agents.config IS 'agent_config as the client sent it; the engine uses what it understands';
COMMENT ON COLUMN agents.extra IS 'what the client sent beside agent_config and agent_prompts';

CREATE TABLE numbers (
    id          uuid PRIMARY KEY,
    team_id     bigint NOT NULL REFERENCES teams,
    number      text NOT NULL CHECK (number ~ '^\+[1-9][0-9]{6,14}$'),
    agent_id    uuid REFERENCES agents,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    UNIQUE (team_id, number)
);

COMMENT ON COLUMN numbers.agent_id IS 'only this agent calls from it; null: every agent of the team without a number of its own';

-- All batches of an agent, single calls among them.
CREATE INDEX batches_of_agent ON batches (agent_id, created_at DESC, id DESC)
    WHERE deleted_at IS NULL AND state <> 'importing';
CREATE INDEX batches_deleted ON batches (deleted_at) WHERE deleted_at IS NOT NULL;

-- Answers to requests with an Idempotency-Key, for a day.
CREATE TABLE idempotency (
    team_id       bigint NOT NULL REFERENCES teams,
    key           text NOT NULL,
    fingerprint   bytea,
    status        smallint,
    content_type  text,
    body          bytea,
    holder        uuid,
    held_until    timestamptz,
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (team_id, key),
    -- Either the answer, or who works on it and until when that is believed.
    CHECK (num_nulls(fingerprint, status, body) = 0 AND num_nulls(holder, held_until) = 2
        OR num_nulls(fingerprint, status, body) = 3 AND num_nulls(holder, held_until) = 0)
);

CREATE INDEX idempotency_by_age ON idempotency (created_at);
