"""Other servers, each started by one command: ``python -m bench.peers NAME``."""
