-- Batches of shipments that failed are found again, should a late answer have booked something.
-- depends: 0060.shares

CREATE INDEX batches_failed ON batches (finished_at)
    WHERE state = 'failed' AND kind = 'shipment';
