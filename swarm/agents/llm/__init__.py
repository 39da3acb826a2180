"""Language-model agents: they turn a brief into a hypothesis and SEARCH/REPLACE edits."""
