"""``hub doctor``: checks of a data folder, its database, its Redis and the other nodes, with advice for each (docs/operations.md)."""
