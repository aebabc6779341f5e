"""The event log and the channel log: for each an interface, and one module for each backend."""
