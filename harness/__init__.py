"""The frozen measure: what a score is and how a trial is confined, timed and scored."""
