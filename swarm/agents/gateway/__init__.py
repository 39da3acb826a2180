"""The gateway: a server on loopback through which external coding agents reach their models.

It speaks Anthropic's Messages, OpenAI's Responses and chat completions, as streams or not, and
forwards to the provider. It holds the key (an agent gets a token that opens this door alone), pins
the model, bounds each call, and meters it by `swarm.agents.llm.meter`: the same budget, rate
limiter and record as our own agents' calls, which go to the provider by its SDK. That second door
is no second meter: a further hop over HTTP would only lose what the SDK knows of a failed
connection (whether anything was sent, and so may be billed).

It runs inside the coordinator, so no kill of that leaves one behind.

May import swarm.agents.llm; imported by swarm.agents, swarm.project and swarm.coordinator.
"""
