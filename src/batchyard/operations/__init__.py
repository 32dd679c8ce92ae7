"""Everything anyone may ask; opens the transactions."""
