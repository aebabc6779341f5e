"""Interactions: open media, the life of an interaction, STARTED and FINISHED."""
