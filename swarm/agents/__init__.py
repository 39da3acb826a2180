"""The agents: mutator, language models, coding agents, behind one protocol (`base.Agent`).

To add an agent: a package here with a class that has `name`, `propose` and `learn`, its section of
program.md in swarm/project/schema/agents.py, and a line in swarm/coordinator/agent_factory.py,
which makes it.
All calls to models go through one meter, `llm/meter.py`: our own agents' by the providers' SDKs,
external coding agents' by the `gateway`.
To add a provider of language models: a module beside `llm/anthropic.py` that implements
`llm.provider.Provider`, chosen in `llm/factory.py`.

May import islands (records, genome) and harness.contract; imported by project and all above it.
"""
