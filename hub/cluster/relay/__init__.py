"""Requests and WebSockets of clients, relayed from the node that holds their connection to the one that owns the session."""
