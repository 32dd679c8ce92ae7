-- When and whom a team calls: zones of numbers, the team's rules, do-not-contact, attempts.
-- depends: 0004.providers

-- Every set of zones a number can have; `items.zone_set` points here, null is unknown. Filled by
-- intake from the phone metadata: a later edition of it may know sets that this one does not.
CREATE TABLE zone_sets (
    id     smallint PRIMARY KEY CHECK (id > 0),
    zones  text[] NOT NULL UNIQUE CHECK (cardinality(zones) > 0)
);

-- A team without a row has no rules.
CREATE TABLE team_rules (
    team_id            bigint PRIMARY KEY REFERENCES teams,
    fallback_zone      text,
    days               smallint[] NOT NULL DEFAULT '{1,2,3,4,5,6,7}'
                       CHECK (cardinality(days) > 0 AND days <@ '{1,2,3,4,5,6,7}'),
    holidays           date[] NOT NULL DEFAULT '{}',
    attempts_per_day   smallint CHECK (attempts_per_day > 0),
    attempts_per_week  smallint CHECK (attempts_per_week > 0),
    countries          text[],
    refuses_premium    boolean NOT NULL DEFAULT false,
    updated_at         timestamptz NOT NULL
);

COMMENT ON COLUMN team_rules.fallback_zone IS 'for numbers whose zones are unknown or share no moment of the window';
COMMENT ON COLUMN team_rules.days IS 'days of the week on which calls are made, 1 is Monday';
COMMENT ON COLUMN team_rules.countries IS 'the only countries that are called; null is all';

CREATE TABLE do_not_contact (
    team_id     bigint NOT NULL REFERENCES teams,
    number      text NOT NULL CHECK (number ~ '^\+[0-9]+$'),
    reason      text,
    until       timestamptz,
    source      text NOT NULL CHECK (source IN ('person', 'opt_out')),
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (team_id, number)
);

COMMENT ON COLUMN do_not_contact.until IS 'null: for ever';
COMMENT ON COLUMN do_not_contact.source IS 'a person entered it, or the recipient asked for it in a call';

-- Written with the intents of teams that limit attempts, kept a little longer than a week.
CREATE TABLE contact_attempts (
    team_id  bigint NOT NULL,
    number   text NOT NULL,
    item_id  uuid NOT NULL,
    try      smallint NOT NULL,
    sent_at  timestamptz NOT NULL,
    PRIMARY KEY (team_id, number, item_id, try)
);

CREATE INDEX contact_attempts_by_time ON contact_attempts (sent_at);
