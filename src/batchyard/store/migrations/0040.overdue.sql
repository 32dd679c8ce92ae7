-- What is overdue is taken of each provider apart, so that none waits behind another's.
-- depends: 0034.paused_by

CREATE INDEX items_to_ask ON items (provider_id, phase, deadline_at)
 WHERE phase IN ('calling', 'live') AND worker_id IS NULL;
DROP INDEX items_overdue;
