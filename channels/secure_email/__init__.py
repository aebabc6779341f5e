"""Secure e-mail: the mailboxes of consumers, in which they and the contact centre write to one another (docs/protocol/secure-email.md)."""
