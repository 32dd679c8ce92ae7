-- Outcomes by time, for the brake and for charts; and what the brake does.
-- depends: 0004.providers

CREATE TABLE tallies (
    scope   text NOT NULL CHECK (scope ~ '^(batch|provider):.+$'),
    at      timestamptz NOT NULL,
    ok      integer NOT NULL,
    failed  integer NOT NULL,
    PRIMARY KEY (scope, at)
) WITH (fillfactor = 50);

COMMENT ON COLUMN tallies.at IS 'start of ten seconds';

CREATE INDEX tallies_by_time ON tallies (at);

ALTER TABLE batches
    ADD COLUMN has_brake boolean NOT NULL DEFAULT true,
    ADD COLUMN brake_from timestamptz;
ALTER TABLE providers
    ADD COLUMN paused_at timestamptz,
    ADD COLUMN paused_reason text,
    ADD COLUMN brake_from timestamptz;

COMMENT ON COLUMN batches.brake_from IS 'outcomes before a resume no longer count against the batch';
COMMENT ON COLUMN providers.paused_reason IS 'why nothing is sent to it; null while it works';
