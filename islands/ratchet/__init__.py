"""One decision: keep, discard or confirm a candidate. Imported by every package above it."""
