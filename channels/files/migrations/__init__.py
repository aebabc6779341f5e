"""Migrations of the tables of files."""
