"""Statistics of agents, queues and groups: the engine, the stat server around it, its API and its channels."""
