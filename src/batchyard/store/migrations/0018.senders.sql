-- Where a team's shipments are sent from; and what providers said that they book.
-- depends: 0013.privacy

CREATE TABLE senders (
    team_id     bigint PRIMARY KEY REFERENCES teams,
    sender      jsonb NOT NULL,
    updated_at  timestamptz NOT NULL
);

COMMENT ON COLUMN senders.sender IS 'address, contact, identifiers and return_to; parties.sender of what a provider is given';

ALTER TABLE providers ADD COLUMN services jsonb, ADD COLUMN services_at timestamptz;

COMMENT ON COLUMN providers.services IS 'what the provider said that it books; null: it was not asked, or need not be';
COMMENT ON COLUMN providers.services_at IS 'when it was last asked';
