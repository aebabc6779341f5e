"""A simulated contact centre: a queueing model, its ledger, ``--demo`` and ``hub simulate``."""
