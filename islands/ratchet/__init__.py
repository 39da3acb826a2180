"""Decides whether a candidate is kept, discarded or confirmed; any package above may import it."""
