"""Questions about a finished or running run, each a typed answer. Imported by analysis and swarm.

Each module answers one question from the run's tables or its ledger, and only reads. A new question
is a module here, a method of `analysis.run.RecordedRun`, and a command in `swarm/cli/`.
"""
