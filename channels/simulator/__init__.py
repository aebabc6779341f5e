"""A simulated contact centre: a queueing model, its books, ``--demo`` and ``hub simulate``."""
