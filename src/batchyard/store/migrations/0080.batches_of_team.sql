-- Lists of items over all batches of a team choose the batches in the order of their ids.
-- depends: 0070.undecided

CREATE INDEX batches_of_team ON batches (team_id, id)
    WHERE deleted_at IS NULL AND state <> 'importing';
