-- How long a team's keys are remembered, with their answers; taken out team by team as all it keeps.
-- depends: 0130.same_file

ALTER TABLE retention ADD COLUMN idempotency_days integer CHECK (idempotency_days > 0);

CREATE INDEX idempotency_of_team_by_age ON idempotency (team_id, created_at);

-- Nothing asks any more how old the keys of all teams are.
DROP INDEX idempotency_by_age;
