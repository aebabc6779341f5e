"""The wallboard: a live page at ``/`` that shows agents and queues."""
