-- An erasure notes the items of its person before it looks for what names them.
-- depends: 0136.deliveries_of_batch

COMMENT ON COLUMN pending_erasures.requested_at IS 'infinity: an erasure has noted the item and not come to it yet; it is not sent again, and erased by that erasure only';
