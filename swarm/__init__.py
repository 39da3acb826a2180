"""The coordinator: the command line, program.md, agents, slices, budgets, the one task tree."""
