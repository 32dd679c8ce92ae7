-- What the dashboard's overview shows, counted as it happens: nothing is searched for it.
-- depends: 0018.senders

ALTER TABLE tallies
    DROP CONSTRAINT tallies_scope_check,
    ADD CONSTRAINT tallies_scope_check CHECK (scope ~ '^(batch|provider|team):.+$'),
    ADD COLUMN seconds float8 NOT NULL DEFAULT 0;

COMMENT ON COLUMN tallies.seconds IS 'how long the attempts lasted, together';

CREATE TABLE failure_tallies (
    team_id  bigint NOT NULL,
    at       timestamptz NOT NULL,
    reason   text NOT NULL,
    n        integer NOT NULL,
    PRIMARY KEY (team_id, at, reason)
) WITH (fillfactor = 50);

COMMENT ON COLUMN failure_tallies.at IS 'start of a quarter of an hour: every time zone begins its day with one';
COMMENT ON COLUMN failure_tallies.reason IS 'error code of the attempt, else its status';

CREATE INDEX failure_tallies_by_time ON failure_tallies (at);
