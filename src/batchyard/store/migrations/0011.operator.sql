-- What the operator API needs: scopes and ends of tokens, people, and who changed what.
-- depends: 0009.brake

ALTER TABLE tokens
    ADD COLUMN scopes text[] NOT NULL DEFAULT '{admin}',
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN last_used_at timestamptz;

COMMENT ON COLUMN tokens.scopes IS 'what the token may do in the operator API; the other doors ask for none';
COMMENT ON COLUMN tokens.last_used_at IS 'to the minute, so that a busy token writes little';

ALTER TABLE batches ADD COLUMN backup_at timestamptz;

COMMENT ON COLUMN batches.backup_at IS 'about when the backup was made that restored_at speaks of: older keys may be in use';

CREATE TABLE users (
    id             uuid PRIMARY KEY,
    team_id        bigint NOT NULL REFERENCES teams,
    name           text NOT NULL,
    email          text NOT NULL,
    password_hash  text,
    scopes         text[] NOT NULL DEFAULT '{admin}',
    created_at     timestamptz NOT NULL,
    removed_at     timestamptz
);

COMMENT ON COLUMN users.password_hash IS 'argon2id; null: signs in through a trusted proxy only';

CREATE UNIQUE INDEX users_by_email ON users (lower(email)) WHERE removed_at IS NULL;

-- Append-only: a trigger refuses every change, so not even our own code can rewrite history.
CREATE TABLE audit_log (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    team_id  bigint NOT NULL REFERENCES teams,
    actor    text NOT NULL,
    action   text NOT NULL,
    subject  text,
    source   text,
    before   jsonb,
    after    jsonb,
    at       timestamptz NOT NULL
);

CREATE INDEX audit_log_of_team ON audit_log (team_id, id DESC);

CREATE FUNCTION audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END $$;

CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_refuse();

-- Search: number and reference by prefix, words of the payload.
CREATE INDEX item_data_by_number ON item_data (number text_pattern_ops) WHERE number IS NOT NULL;
CREATE INDEX item_data_by_reference ON item_data (reference text_pattern_ops) WHERE reference IS NOT NULL;
