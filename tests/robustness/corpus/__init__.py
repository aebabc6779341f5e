"""Tables of what is sent, and what has to come back."""
