"""The stat server as a service: who owns a tenant's statistics, their subscriptions, and when a change is told."""
