"""Identifies callers and decides what they may do: principals, credentials, roles, and the one decision function."""
