"""Versions of the event log's tables in PostgreSQL, and of its leases. For the logs in files, the versions are in their modules."""
