"""Publishing by REST: ``POST /api/v1/publish``."""
