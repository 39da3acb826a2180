"""External coding agents (Claude Code, Codex, any command) as agents that propose changes.

Each proposal is one run of the agent's command line in a sandbox, on a scratch copy of the genome.
A subscription of Claude Code works by `api_key_env: CLAUDE_CODE_OAUTH_TOKEN` (of `claude
setup-token`), one of ChatGPT by `login: true` (of `codex login`): the gateway sends that token, and
the agent never holds it. Cursor takes no base URL: as `kind: command` with `network: true` and
`env: [CURSOR_API_KEY]` it runs unmetered, and status, cost and report say so.

May import islands, harness.sandbox and the rest of swarm.agents; imported by project and above.

Not covered:
- no login was tried against a provider (see swarm/agents/llm/login.py)
- Codex and opencode have no limit on turns: the call that goes beyond `max_turns` is paid
"""
