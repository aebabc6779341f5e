"""Events in: ``POST /ingest/v1/events``, the schemas of the events, ``hub feed``."""
