"""Git plumbing and island branches, the only I/O of islands. Imported by swarm."""
