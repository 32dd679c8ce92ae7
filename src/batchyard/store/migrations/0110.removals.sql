-- Contents outside the database whose documents are gone, until they are gone too.
-- depends: 0105.reply_language

CREATE TABLE removals (
    location  text PRIMARY KEY,
    tried_at  timestamptz
);

COMMENT ON COLUMN removals.tried_at IS 'when it last could not be removed; null: not tried yet';

-- Those that were never tried first, then those whose last try is the longest ago.
CREATE INDEX removals_in_turn ON removals (tried_at NULLS FIRST, location);

-- By row, with WHEN: a document inside the database costs one comparison. Items take their documents
-- with them, so no code path can forget it.
CREATE FUNCTION documents_leave_contents() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO removals (location) VALUES (OLD.location) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;

CREATE TRIGGER documents_leave_contents AFTER DELETE ON documents
    FOR EACH ROW WHEN (OLD.location IS NOT NULL)
    EXECUTE FUNCTION documents_leave_contents();
