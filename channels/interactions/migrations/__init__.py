"""Versions of the tables of interactions."""
