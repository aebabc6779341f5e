"""Versions of the table by which the nodes of a hub know that they share a database."""
