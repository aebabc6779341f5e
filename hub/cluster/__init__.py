"""The nodes of one hub: which of them live, the links between them, and who owns what."""
