-- The scopes of a token hold for every door.
-- depends: 0115.absences

COMMENT ON COLUMN tokens.scopes IS 'what the token may do, through every door';
