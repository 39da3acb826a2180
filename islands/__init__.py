"""The population: what happened, what it means and what is tried next, decided in pure code."""
