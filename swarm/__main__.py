"""`python -m swarm`: the command line."""

from swarm.cli.main import main

main()
