"""Versions of the tables of who may call."""
