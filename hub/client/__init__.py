"""What talks to a running hub from outside."""
