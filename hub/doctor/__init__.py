"""``hub doctor``: checks of a data folder and its database, with advice for each problem (docs/operations.md)."""
