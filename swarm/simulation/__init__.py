"""Simulates whole runs on virtual time against a known truth; imported by swarm.cli alone.

The coordinator is the real one; only agents, git and trials are replaced. Since the true effect of
every change is known, a run's keeps and claims can be checked against it. Each policy of the swarm
was chosen this way.
"""
