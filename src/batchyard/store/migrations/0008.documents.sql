-- Documents that are kept outside the database, and bookings of single shipments.
-- depends: 0004.providers

ALTER TABLE documents
    ALTER COLUMN content DROP NOT NULL,
    ADD COLUMN location text,
    ADD CONSTRAINT documents_kept_once CHECK (num_nonnulls(content, location) = 1);

COMMENT ON COLUMN documents.location IS 'address of the content where it is kept elsewhere: file:///... or s3://bucket/...';

-- What a client of a single shipment asked for, and can come back to.
CREATE TABLE bookings (
    id          uuid PRIMARY KEY,
    team_id     bigint NOT NULL REFERENCES teams,
    item_id     uuid NOT NULL REFERENCES items ON DELETE CASCADE,
    key         text,
    created_at  timestamptz NOT NULL
);

COMMENT ON COLUMN bookings.key IS 'the Idempotency-Key it came with: after a crash the same request waits on, it is no second one';

CREATE INDEX bookings_of_item ON bookings (item_id);

-- With batches_listed, every shipment of a team, in a batch or single.
CREATE INDEX batches_unlisted ON batches (team_id, created_at DESC, id DESC) INCLUDE (state)
    WHERE kind = 'shipment' AND deleted_at IS NULL AND state <> 'importing'
      AND (is_single OR state = 'cancelled');
