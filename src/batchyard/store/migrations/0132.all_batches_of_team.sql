-- Whoever looks for a person goes through all batches of a team, deleted ones and uploads too.
-- depends: 0131.idempotency_days

CREATE INDEX batches_all_of_team ON batches (team_id, id);
