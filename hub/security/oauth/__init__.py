"""OAuth 2.0 and OpenID Connect without I/O: what is asked for goes in, decisions come out (docs/protocol/oauth.md)."""
