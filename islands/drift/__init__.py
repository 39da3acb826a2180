"""Drift: whether a slice still measures as it did. Imported by state, scheduling and swarm."""
