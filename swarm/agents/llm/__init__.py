"""Language-model agents: they turn a brief into a hypothesis and SEARCH/REPLACE edits.

Imported by swarm.agents, swarm.project and swarm.coordinator.
"""
