"""Other Bayeux servers, to measure the hub against: each is one command, ``python -m tests.conformance.peers NAME --port N``."""
