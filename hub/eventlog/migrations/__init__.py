"""Versions of the event log's tables in PostgreSQL, and of the leases that fence it. The logs in files have theirs in their modules."""
