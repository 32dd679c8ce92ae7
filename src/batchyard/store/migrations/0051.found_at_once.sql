-- Lists that are narrowed, in an order an index holds.
-- depends: 0050.batch_started

-- As long as the engine keeps it; an index takes no much longer one.
UPDATE item_data SET error_code = left(error_code, 200) WHERE length(error_code) > 200;

-- Of items only those that failed get an entry, when they do.
CREATE INDEX item_data_by_error ON item_data (batch_id, error_code, position, item_id)
    WHERE error_code IS NOT NULL;
CREATE INDEX rejected_rows_by_code ON rejected_rows (batch_id, code, line);
CREATE INDEX webhook_deliveries_by_state
    ON webhook_deliveries (team_id, state, created_at DESC, number DESC, id DESC);
