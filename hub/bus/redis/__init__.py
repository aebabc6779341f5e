"""The bus over Redis: many nodes, one hub."""
