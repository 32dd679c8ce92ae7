-- What the dashboard needs: who is signed in, who tries to, and lists that are found at once.
-- depends: 0013.privacy

-- Only the SHA-256 of a session's secret is kept: as with tokens.
CREATE TABLE sessions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash        bytea NOT NULL UNIQUE,
    team_id     bigint NOT NULL REFERENCES teams,
    user_id     uuid REFERENCES users,
    token_id    bigint REFERENCES tokens,
    is_by_proxy boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    CHECK (num_nonnulls(user_id, token_id) = 1),
    CHECK (NOT is_by_proxy OR user_id IS NOT NULL)
);

COMMENT ON COLUMN sessions.is_by_proxy IS 'good only while the trusted proxy names this very user';
COMMENT ON COLUMN sessions.expires_at IS 'moves on with use, to the minute, so that a busy session writes little';

CREATE INDEX sessions_by_end ON sessions (expires_at);
CREATE INDEX sessions_of_user ON sessions (user_id) WHERE user_id IS NOT NULL;

-- Counted here and not in memory: servers share the limit, and a restart does not lift it.
CREATE TABLE sign_in_attempts (
    key       bytea PRIMARY KEY,
    n         integer NOT NULL,
    began_at  timestamptz NOT NULL
);

COMMENT ON COLUMN sign_in_attempts.key IS 'SHA-256 of the address or the account that tried';

-- Pages of a million items by status. Ended ones get their entry when they end, once; the other
-- statuses that may be rare have indexes by their phase.
CREATE INDEX items_ended ON items (batch_id, status, id) WHERE phase = 'done';
CREATE INDEX items_put_off ON items (batch_id, status, id)
    WHERE phase = 'ready' AND status <> 'waiting';

-- Who did what to one thing.
CREATE INDEX audit_log_by_subject ON audit_log (team_id, subject, id) WHERE subject IS NOT NULL;
