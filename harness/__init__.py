"""The frozen measure: what a score is and how a trial is confined, timed and scored.

Trust ends at `sandbox`. Candidate code runs inside it, beside `runners`; `sandbox.guest` closes it
from the inside before that code starts. Everything else runs outside, in a process for each slice
(`worker`) that never imports candidate code and reads what a candidate leaves as hostile bytes.

Imported by swarm; islands and analysis may import its contract alone.
"""
