"""Presence: the sessions and channels of a tenant for administrators, and joins and leaves as events."""
