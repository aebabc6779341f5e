"""What every door shares: channels, topics, messages, subscribers, the router and the hub itself. Sans I/O."""
