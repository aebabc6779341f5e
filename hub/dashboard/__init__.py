"""The conversation of ``/ws`` (docs/protocol/dashboard.md#conversation): payloads in, payloads out. It does no I/O."""
