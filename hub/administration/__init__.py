"""Administration by REST: users, roles, clients, keys and tokens of the caller's own tenant (docs/administration.md)."""
