"""Third-party messaging, both directions: ``/nexus/v3/channels``, the webhooks of channels, ``/api/v1/messaging``, ``hub channel``."""
