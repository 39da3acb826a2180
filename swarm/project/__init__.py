"""What the user owns: program.md, the git repository, the run folders.

Imported by executors and above.
"""
