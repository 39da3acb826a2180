"""Stack checks: do kept changes add up? Imported by state, scheduling and swarm."""
