"""Everything behind `swarm check`: what the base does, before a night is spent on it.

- `bench` runs the base in trials of its own, and variants of it: a broken genome, two runs in one
  place
- `findings` says what the trials show, each finding with its fix, and `failures` why a base fails;
  both are pure
- `report` puts them together; `records` is what passes between them

Imported by swarm/cli, for `swarm check` and for the first launch.
"""
