"""``hub doctor``: checks of a data folder and its database, each with what to do about what it found (docs/operations.md)."""
