"""Who calls, and what they may: principals, credentials, roles, and the one decision function."""
