"""The frozen measure: what a score is and how a trial is confined, timed and scored.

Imported by swarm; islands and analysis may import its contract alone.
"""
