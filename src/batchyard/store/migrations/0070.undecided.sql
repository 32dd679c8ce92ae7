-- Since when an item is looked at in vain, and when its key was last sent again.
-- depends: 0061.failed

ALTER TABLE items
    ADD COLUMN undecided_since timestamptz,
    ADD COLUMN repeated_at timestamptz;

COMMENT ON COLUMN items.undecided_since IS 'the first of the looks in a row that decided nothing; null costs a row nothing';
COMMENT ON COLUMN items.repeated_at IS 'when the undecided key was last sent again; written before it is';
