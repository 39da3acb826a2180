"""Chooses the next step of an island and of the run. Imported by swarm."""
