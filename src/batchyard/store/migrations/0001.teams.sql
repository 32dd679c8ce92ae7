-- Tenants, their tokens and their agents.

CREATE TABLE teams (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid        uuid NOT NULL UNIQUE,
    slug        text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name        text NOT NULL,
    locale      text NOT NULL DEFAULT 'en',
    timezone    text NOT NULL DEFAULT 'UTC',
    weight      integer NOT NULL DEFAULT 1 CHECK (weight > 0),
    created_at  timestamptz NOT NULL
);

-- Only the SHA-256 of a token is kept: tokens carry 256 random bits, so a slow hash adds nothing.
CREATE TABLE tokens (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    team_id        bigint NOT NULL REFERENCES teams,
    name           text NOT NULL,
    hash           bytea NOT NULL UNIQUE,
    bolna_version  text CHECK (bolna_version IN ('2024-01', '2026-08')),
    created_at     timestamptz NOT NULL,
    revoked_at     timestamptz
);

CREATE TABLE agents (
    id          uuid PRIMARY KEY,
    team_id     bigint NOT NULL REFERENCES teams,
    name        text NOT NULL,
    config      jsonb NOT NULL DEFAULT '{}',
    prompts     jsonb,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    deleted_at  timestamptz
);

CREATE INDEX agents_by_team ON agents (team_id, created_at) WHERE deleted_at IS NULL;
