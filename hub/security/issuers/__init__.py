"""Tokens of other issuers: JSON Web Tokens that an identity provider signs (docs/authentication.md#external-issuers)."""
