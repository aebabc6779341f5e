"""What flows through the hub: one folder a family, and only the family knows its domain."""
