-- What the workers need: when to look at a team, what limits it, who is alive.
-- depends: 0002.batches

CREATE TABLE wakes (
    team_id   bigint PRIMARY KEY REFERENCES teams,
    wake_at   timestamptz NOT NULL DEFAULT 'infinity',
    version   bigint NOT NULL DEFAULT 0,
    is_capped boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

COMMENT ON COLUMN wakes.wake_at IS 'when the team can next do something';
COMMENT ON COLUMN wakes.is_capped IS 'the last admission was held by a cap: freed capacity wakes the team';

-- One row a limit; admission locks the rows concerned in key order, so two never count together.
CREATE TABLE limits (
    key          text PRIMARY KEY CHECK (key ~ '^(team|provider|agent|batch):.+$'),
    concurrency  integer CHECK (concurrency > 0)
);

COMMENT ON COLUMN limits.key IS 'scope and id: team:1, provider:1, agent:<uuid>, batch:<uuid>';
COMMENT ON COLUMN limits.concurrency IS 'items in flight at once; null takes the default of the scope';

-- Token buckets, guarded by the lock on their limit.
CREATE TABLE rates (
    key          text NOT NULL REFERENCES limits ON DELETE CASCADE,
    seconds      integer NOT NULL CHECK (seconds > 0),
    count        integer NOT NULL CHECK (count > 0),
    burst        integer NOT NULL CHECK (burst > 0),
    tokens       float8 NOT NULL,
    refilled_at  timestamptz NOT NULL,
    PRIMARY KEY (key, seconds)
);

COMMENT ON TABLE rates IS 'count items per so many seconds, at most burst of them at one moment';

CREATE TABLE workers (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host        text NOT NULL,
    pid         integer NOT NULL,
    started_at  timestamptz NOT NULL,
    beat_at     timestamptz NOT NULL,
    ended_at    timestamptz
);

CREATE INDEX workers_alive ON workers (beat_at) WHERE ended_at IS NULL;

-- Secrets of this installation, such as the one that signs callback addresses.
CREATE TABLE installation (
    name   text PRIMARY KEY,
    value  bytea NOT NULL
);
