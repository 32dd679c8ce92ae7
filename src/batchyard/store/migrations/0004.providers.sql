-- Providers, the routes that lead to them, and the events people can listen to.
-- depends: 0003.engine

CREATE TABLE providers (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name           text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9_.-]{0,62}$'),
    kind           text NOT NULL,
    settings       jsonb NOT NULL DEFAULT '{}',
    secret         bytea,
    allow_private  boolean NOT NULL DEFAULT false,
    slow_until     timestamptz,
    created_at     timestamptz NOT NULL,
    removed_at     timestamptz
);

COMMENT ON COLUMN providers.secret IS 'encrypted with the key of the installation';
COMMENT ON COLUMN providers.slow_until IS 'the provider asked everyone to wait (Retry-After)';

CREATE UNIQUE INDEX providers_by_name ON providers (name) WHERE removed_at IS NULL;

INSERT INTO providers (name, kind, created_at) VALUES ('sandbox', 'sandbox', now());

-- The narrowest route wins: agent, then kind. Without one, items go to the sandbox.
CREATE TABLE routes (
    team_id      bigint NOT NULL REFERENCES teams,
    kind         text NOT NULL CHECK (kind IN ('call', 'shipment')),
    agent_id     uuid REFERENCES agents,
    provider_id  integer NOT NULL REFERENCES providers,
    UNIQUE NULLS NOT DISTINCT (team_id, kind, agent_id)
);

-- Readers take events below the oldest running transaction, in the order (xid, id): else a slow
-- commit would be skipped.
CREATE TABLE events (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid       xid8 NOT NULL DEFAULT pg_current_xact_id(),
    team_id   bigint NOT NULL,
    batch_id  uuid,
    item_id   uuid,
    type      text NOT NULL,
    data      jsonb NOT NULL DEFAULT '{}',
    at        timestamptz NOT NULL
);

CREATE INDEX events_of_team ON events (team_id, xid, id);
CREATE INDEX events_of_batch ON events (batch_id, xid, id);
