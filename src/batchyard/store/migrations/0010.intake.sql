-- Uploads into batches, what mends them, and what columns mean for a team.
-- depends: 0009.brake

-- One row a file. A new batch is its own upload; rows that join a batch later are staged in an
-- invisible batch with the id of their upload.
CREATE TABLE uploads (
    id           uuid PRIMARY KEY,
    team_id      bigint NOT NULL REFERENCES teams,
    batch_id     uuid NOT NULL REFERENCES batches ON DELETE CASCADE,
    state        text NOT NULL DEFAULT 'reading' CHECK (state IN ('reading', 'joining', 'done')),
    file_name    text,
    format       text CHECK (format IN ('csv', 'xlsx', 'json', 'ndjson')),
    delimiter    text,
    columns      text[],
    mapping      jsonb NOT NULL DEFAULT '{}',
    header_hash  bytea,
    sha256       bytea,
    bytes        bigint NOT NULL DEFAULT 0,
    total_bytes  bigint,
    rows         integer NOT NULL DEFAULT 0,
    accepted     integer NOT NULL DEFAULT 0,
    corrected    integer NOT NULL DEFAULT 0,
    refused      integer NOT NULL DEFAULT 0,
    skipped      integer NOT NULL DEFAULT 0,
    codes        jsonb NOT NULL DEFAULT '{}',
    first_line   integer NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    CHECK ((ended_at IS NULL) = (state <> 'done'))
) WITH (fillfactor = 70);

COMMENT ON COLUMN uploads.mapping IS 'what the columns mean, by their names in the file';
COMMENT ON COLUMN uploads.sha256 IS 'of the bytes as they came; known at the end';
COMMENT ON COLUMN uploads.accepted IS 'rows that became items';
COMMENT ON COLUMN uploads.corrected IS 'rows that corrected a failed item';
COMMENT ON COLUMN uploads.skipped IS 'duplicates left out as asked; they are in no other count of the batch';
COMMENT ON COLUMN uploads.codes IS 'rows by the code of their verdict, warnings included';
COMMENT ON COLUMN uploads.first_line IS 'added to the lines of the file to make them lines of the batch';

CREATE INDEX uploads_of_batch ON uploads (batch_id, created_at);
CREATE INDEX uploads_of_team ON uploads (team_id, created_at DESC);
CREATE INDEX uploads_by_content ON uploads (team_id, sha256) WHERE state = 'done';

-- Rows of a mend file that say which refused row, or which failed item, they are.
CREATE TABLE staged_mends (
    upload_id   uuid NOT NULL REFERENCES uploads ON DELETE CASCADE,
    line        integer NOT NULL,
    error_line  integer,
    item_id     uuid,
    is_refused  boolean NOT NULL,
    payload     jsonb,
    number      text,
    reference   text,
    zone_set    smallint,
    PRIMARY KEY (upload_id, line)
);

ALTER TABLE batches ADD COLUMN last_line integer NOT NULL DEFAULT 0;
ALTER TABLE item_data ADD COLUMN corrections jsonb NOT NULL DEFAULT '[]';
ALTER TABLE rejected_rows
    ADD COLUMN upload_id uuid,
    ADD COLUMN item_id uuid;

COMMENT ON COLUMN batches.last_line IS 'lines taken by files so far; those of the next one follow';
COMMENT ON COLUMN item_data.corrections IS 'what was replaced: [{at, attempt, number, payload}]';
COMMENT ON COLUMN rejected_rows.upload_id IS 'whose columns the cells are in; null: those of the batch';
COMMENT ON COLUMN rejected_rows.item_id IS 'a correction of this item was refused; not among the refused rows of the batch';
COMMENT ON COLUMN rejected_rows.cells IS 'the cells in the order of the columns, or the JSON object';

-- What the columns of a team's files mean, under a name.
CREATE TABLE mappings (
    id           uuid PRIMARY KEY,
    team_id      bigint NOT NULL REFERENCES teams,
    kind         text NOT NULL CHECK (kind IN ('call', 'shipment')),
    name         text NOT NULL,
    mapping      jsonb NOT NULL,
    header_hash  bytea,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    UNIQUE (team_id, kind, name)
);

COMMENT ON COLUMN mappings.header_hash IS 'the header it was made for; the mapping is offered when it comes again';

CREATE INDEX mappings_by_header ON mappings (team_id, kind, header_hash);
