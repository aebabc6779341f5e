"""Versions of the tables of tenants, roles and credentials."""
