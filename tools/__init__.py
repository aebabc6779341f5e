"""Checks of the sources and generators of documents; nothing here is part of the product."""
