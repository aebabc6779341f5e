"""What the bus and the log over Redis share: names of keys and channels, scripts, the connection that sends commands."""
