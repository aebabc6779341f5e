"""The versions of the tables of media storage."""
