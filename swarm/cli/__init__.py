"""The commands of `swarm`: one module per command, shared parts in `console` and `live`.

No package imports this one.
"""
