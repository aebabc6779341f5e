"""Campaigns against the hub: random conversations, hostile bytes. Each has a short form, and a long one that `make test-long` runs."""
