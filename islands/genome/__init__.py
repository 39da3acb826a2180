"""Everything that reads the text of a genome: admission, syntax diffs, categories, null edits.

Imported by git, state, scheduling and swarm.
"""
