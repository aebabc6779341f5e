"""Versions of the tables of messaging."""
