-- The deliveries of one batch are found when it is purged, and when its log is looked at.
-- depends: 0135.reply_headers

-- By nothing more: a key that many rows share is kept once for all of them.
CREATE INDEX webhook_deliveries_of_batch ON webhook_deliveries (batch_id);
