"""The agents that are language models: brief in, hypothesis and SEARCH/REPLACE edits out."""
