"""Media storage: the folders of a tenant by Alvaria's API of object keys (docs/media-storage.md)."""
