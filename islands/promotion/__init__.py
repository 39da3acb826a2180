"""Re-measures a stack at the next rung and derives the consensus.

Imported by state, scheduling and swarm.
"""
