"""Who is here: sessions and channels as administrators see them, and joins and leaves as events."""
