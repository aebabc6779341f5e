"""The stat server: it owns the statistics of each tenant and their subscriptions, and sends notifications of what changed."""
