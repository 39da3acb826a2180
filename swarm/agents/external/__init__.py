"""External coding agents (Claude Code, Codex, any command) as agents that propose changes.

Each proposal is one run of the agent's command line in a sandbox, on a scratch copy of the genome.
May import islands, harness.sandbox and the rest of swarm.agents; imported by project and above.
"""
