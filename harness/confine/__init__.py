"""Confinement as a policy object with tiers: `run(policy, argv)` and nothing beside it."""
