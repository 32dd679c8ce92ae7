-- How tables are kept small.
-- depends: 0021.overview

-- The usual fifth of the table is late. No room is left on its pages: what an item is told at its
-- end is twice the row, and all rows of a page end together, so it would take two thirds of it.
ALTER TABLE item_data SET (
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 0
);

-- Few rows that change all the time.
ALTER TABLE wakes SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE workers SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE rates SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE batches SET (autovacuum_vacuum_scale_factor = 0.02);

-- Rows that come and go.
ALTER TABLE events SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE webhook_deliveries SET (autovacuum_vacuum_scale_factor = 0.05);
