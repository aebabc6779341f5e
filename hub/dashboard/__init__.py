"""The conversation of ``/ws`` (contract part 4), sans I/O: payloads in, payloads out."""
