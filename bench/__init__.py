"""Benchmarks that a user can run: `make bench`. Each prints its figure beside what this machine can do at most."""
