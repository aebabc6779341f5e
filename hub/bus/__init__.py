"""The bus, which carries messages between nodes: one interface, and one module or package for each backend."""
