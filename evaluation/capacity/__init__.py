"""How many cameras a box holds."""
