"""What black-box tests need: a hub in a process of its own, and client libraries as puppets."""
