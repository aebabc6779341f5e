"""The audit log: who changed or tried what, when, and from where (docs/audit.md)."""
