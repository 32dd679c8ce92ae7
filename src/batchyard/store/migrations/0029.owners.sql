-- Items belong to a batch and data to an item: held for each statement instead of each row.
-- depends: 0028.storage

-- A foreign key looks each row up by itself and locks what it finds: of an import that was two
-- fifths of PostgreSQL's work. The same promise, kept by triggers with transition tables.
ALTER TABLE items DROP CONSTRAINT items_batch_id_fkey;
ALTER TABLE item_data DROP CONSTRAINT item_data_item_id_fkey;

-- Locks as a foreign key does: whoever deletes one of the batches waits, and then sees the items.
CREATE FUNCTION require_batches(ids uuid[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    held integer;
BEGIN
    SELECT count(*) INTO held
      FROM (SELECT FROM batches WHERE id = ANY (ids) ORDER BY id FOR KEY SHARE) AS found;
    IF held < cardinality(ids) THEN
        RAISE foreign_key_violation USING MESSAGE = 'items need a batch that exists';
    END IF;
END $$;

CREATE OR REPLACE FUNCTION items_count_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM require_batches(ARRAY(SELECT DISTINCT batch_id FROM new_items));
    INSERT INTO batch_counts AS c (batch_id, phase, status, n)
    SELECT batch_id, phase, status, count(*) FROM new_items GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (batch_id, phase, status) DO UPDATE SET n = c.n + excluded.n;
    RETURN NULL;
END $$;

CREATE FUNCTION items_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM require_batches(ARRAY[NEW.batch_id]);
    RETURN NULL;
END $$;

CREATE TRIGGER items_moved AFTER UPDATE OF batch_id ON items
    FOR EACH ROW WHEN (OLD.batch_id <> NEW.batch_id) EXECUTE FUNCTION items_moved();

CREATE FUNCTION batches_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM old_batches b
                WHERE EXISTS (SELECT FROM items i WHERE i.batch_id = b.id)) THEN
        RAISE foreign_key_violation USING MESSAGE = 'a batch goes after its items';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER batches_deleted AFTER DELETE ON batches
    REFERENCING OLD TABLE AS old_batches
    FOR EACH STATEMENT EXECUTE FUNCTION batches_deleted();

-- The plans of these two are kept by each connection, maybe from when the tables were nearly
-- empty: they must look items up by their key however few there are.
CREATE FUNCTION item_data_inserted() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    IF EXISTS (SELECT FROM new_data d
                WHERE NOT EXISTS (SELECT FROM items i WHERE i.id = d.item_id)) THEN
        RAISE foreign_key_violation USING MESSAGE = 'data need an item that exists';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER item_data_inserted AFTER INSERT ON item_data
    REFERENCING NEW TABLE AS new_data
    FOR EACH STATEMENT EXECUTE FUNCTION item_data_inserted();

CREATE FUNCTION items_take_data_along() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    DELETE FROM item_data d USING old_items o WHERE d.item_id = o.id;
    RETURN NULL;
END $$;

CREATE TRIGGER items_take_data_along AFTER DELETE ON items
    REFERENCING OLD TABLE AS old_items
    FOR EACH STATEMENT EXECUTE FUNCTION items_take_data_along();
