"""The one task tree of a run: islands, proposer, run-level actions.

Imported by results, simulation and cli.
"""
