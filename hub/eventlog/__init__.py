"""The event log: append, read, trim, snapshot. One interface, one file per backend."""
