"""The agents: the built-in mutator and language models, behind one protocol (`base.Agent`).

To add an agent: a package here with a class that has `name`, `propose` and `learn`, its section of
program.md in swarm/project/schema.py, and a line in swarm/coordinator/assemble.py that builds it.
To add a provider of language models: a module beside `llm/anthropic.py` that implements
`llm.provider.Provider`, chosen in `llm/factory.py`.

May import islands (records, genome) and harness.contract; imported by project and all above it.
"""
