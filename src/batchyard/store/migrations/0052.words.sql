-- Items are found by the words of their payload without reading all of them.
-- depends: 0051.found_at_once

-- The expression of `store/item_filters.py`, word for word; nothing else is in it. It costs every
-- imported row, and every end of an item once more, the taking apart of its payload and an entry
-- in the pending list; what is pending goes into the index in bulk. The list may be larger than
-- usual, so that an import writes long runs; a search reads what is still pending row by row.
CREATE INDEX item_data_by_words ON item_data
 USING gin (jsonb_to_tsvector('simple', payload, '["string", "numeric"]'))
  WITH (fastupdate = on, gin_pending_list_limit = 16384);
