-- How often a key was sent and then believed never to have arrived.
-- depends: 0110.removals

ALTER TABLE items
    ADD COLUMN absences smallint,
    ADD COLUMN absent_try smallint;

COMMENT ON COLUMN items.absences IS 'how often the key of absent_try was sent and then believed never to have arrived; null costs a row nothing';
COMMENT ON COLUMN items.absent_try IS 'the try that absences counts for; of another try there were none';
