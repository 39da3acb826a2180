"""Everything behind `swarm init`: program.md for a repository that exists, or a new repository.

- `offers` reads a repository for commands that measure it; `sources` reads one script for the
  numbers that it prints and the files that it measures
- `commands` checks a command line against the files; `front_matter` writes program.md,
  `prose` what stands below it
- `worktree` is the user's repository; `template` makes a new one

Imported by swarm/cli/init.py.
"""
