"""Versions of the tables of secure e-mail."""
