"""The conversation of ``/ws`` (docs/protocol/dashboard.md#conversation), sans I/O: payloads in, payloads out."""
