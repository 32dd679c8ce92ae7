-- Items are found by the words of their payload without reading all of them.
-- depends: 0051.found_at_once

-- The expression of `store/item_filters.py`, word for word; nothing else is in it. Its price: about
-- 10 microseconds of PostgreSQL for each imported row, to the 15 it costs without, and as much again
-- at the end of each item, for taking its payload apart (60,000 rows of six short fields,
-- PostgreSQL 18). Entries are gathered in a list and go into the index in bulk; the list may be
-- larger than usual, so that an import writes long runs. A search reads what is still in it.
CREATE INDEX item_data_by_words ON item_data
 USING gin (jsonb_to_tsvector('simple', payload, '["string", "numeric"]'))
  WITH (fastupdate = on, gin_pending_list_limit = 16384);
