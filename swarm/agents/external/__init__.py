"""External coding agents (Claude Code, Codex, any command) as agents that propose changes.

Each proposal is one run of the agent's command line in a sandbox, on a scratch copy of the genome.
A subscription of Claude Code works by `api_key_env: CLAUDE_CODE_OAUTH_TOKEN` (of `claude
setup-token`): the gateway sends that token, and the agent never holds it.

May import islands, harness.sandbox and the rest of swarm.agents; imported by project and above.

Not covered:
- a login of Codex with ChatGPT; and no login was tried against a provider
- tools of ours inside the sandbox: an agent knows the history from its prompt alone
- Codex and opencode have no limit on turns: the call that goes beyond `max_turns` is paid
"""
