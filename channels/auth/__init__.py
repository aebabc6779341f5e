"""The Authentication API (``/auth/v3``): OAuth 2.0, OpenID Connect, and the sign-in page (docs/authentication.md)."""
