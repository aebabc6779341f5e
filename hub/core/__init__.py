"""What every transport shares: channels, topics, messages, sessions, subscriptions, the router and the hub itself. It does no I/O."""
