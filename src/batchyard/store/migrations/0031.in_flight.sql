-- One index for what is in flight.
-- depends: 0021.overview

-- Claiming an item wrote three entries that tell the same: it is in flight, of a team, at a
-- provider, held by a worker. One does for all; what is in flight is little, so it is read whole
-- where its team is not known.
CREATE INDEX items_moving ON items (team_id, provider_id, worker_id)
 WHERE phase IN ('claimed', 'calling', 'live');
DROP INDEX items_in_flight;
DROP INDEX items_at_provider;
DROP INDEX items_held;
