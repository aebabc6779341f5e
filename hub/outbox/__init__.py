"""Webhooks: delivers recorded events in order and at least once. It knows nothing of contact centres."""
