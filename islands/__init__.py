"""The population: records, events, and decisions in pure code. Imported by analysis and swarm."""
