"""The webhook machine: what was accepted is delivered, in order, at least once. It knows nothing of contact centres."""
