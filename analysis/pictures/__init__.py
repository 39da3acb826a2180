"""Pictures of a run, drawn by matplotlib from the run's tables. Imported by analysis and swarm.

`KINDS` names every kind. A new kind is a function `(RunSource, Figure, Theme) -> None` there.
"""
