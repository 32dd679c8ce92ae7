-- Teams that wait for the same provider share its cap.
-- depends: 0051.found_at_once

ALTER TABLE wakes
    ADD COLUMN held_by integer[] NOT NULL DEFAULT '{}',
    ADD COLUMN rested_at timestamptz;

COMMENT ON COLUMN wakes.held_by IS 'providers that have too little room for what the team has due';
COMMENT ON COLUMN wakes.rested_at IS 'when its last turn ended; who waits longest is woken first';

-- Few teams wait for a provider at any time, and each end of an item looks for them.
CREATE INDEX wakes_held ON wakes (team_id) WHERE held_by <> '{}';
