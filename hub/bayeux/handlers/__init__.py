"""One handler for each kind of message that a client sends. What a handler refuses it raises, and the server answers."""
