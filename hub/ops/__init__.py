"""Running a hub: settings, logging, metrics, health, and the REST application that carries them."""
