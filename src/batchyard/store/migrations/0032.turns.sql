-- The lines of a file that were refused must not take turns among several numbers to call from.
-- depends: 0031.in_flight
ALTER TABLE item_data ADD COLUMN turn integer;

COMMENT ON COLUMN item_data.turn IS 'which of several numbers it is called from; null: its position says that';
