"""The user's own problem, frozen at launch: commands, files, interpreter, and how a number is read.

Imported by harness.tasks and above, and by swarm, which freezes it.
"""
