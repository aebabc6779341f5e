"""``hub serve --workers N``: several processes on one machine that share a port (docs/scaling.md#workers)."""
