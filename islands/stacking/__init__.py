"""Stack checks: measure whether kept changes add up. Imported by state, scheduling and swarm."""
