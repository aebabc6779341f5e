"""What the suite needs of a server to try its own side: the hooks of docs/conformance.md, for the hub."""
