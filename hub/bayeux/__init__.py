"""The Bayeux 1.0 conversation, sans I/O: messages in, replies and events out. It knows neither HTTP nor WebSocket."""
