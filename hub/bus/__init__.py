"""Between nodes: one interface, one file per backend."""
