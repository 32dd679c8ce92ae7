-- Calls that their provider tells apart by numbers and time only.
-- depends: 0013.privacy

-- At most one undecided call from one number to another. Written with the intent, deleted with what
-- settles it; no foreign key, so that deleting items costs nothing where there are no claims.
CREATE TABLE number_claims (
    provider_id  integer NOT NULL,
    number       text NOT NULL,
    from_number  text NOT NULL,
    item_id      uuid NOT NULL,
    try          smallint NOT NULL,
    lease        bigint NOT NULL,
    claimed_at   timestamptz NOT NULL,
    PRIMARY KEY (provider_id, number, from_number)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE INDEX number_claims_of_item ON number_claims (item_id);

COMMENT ON TABLE number_claims IS 'the undecided call between two numbers, of a provider that could not tell two apart';
COMMENT ON COLUMN number_claims.from_number IS 'empty: the provider was named none';

ALTER TABLE items ADD COLUMN empty_looks smallint;

COMMENT ON COLUMN items.empty_looks IS 'how often the provider was asked about the undecided key and did not know it; null costs a row nothing';
