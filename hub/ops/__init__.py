"""Operation of a hub: settings, logging, metrics, health, and their REST routes."""
