-- Whoever looks for a person goes first through what is about to join another batch.
-- depends: 0137.noted_erasures

CREATE INDEX uploads_joining ON uploads (team_id, id) WHERE batch_id <> id;
