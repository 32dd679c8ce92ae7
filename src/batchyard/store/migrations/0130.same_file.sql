-- The very same file is looked for among all that were read, also while their rows join a batch.
-- depends: 0125.scopes_of_doors

-- The index on what is done alone stays for the build before.
CREATE INDEX uploads_read_by_content ON uploads (team_id, sha256) WHERE state <> 'reading';
