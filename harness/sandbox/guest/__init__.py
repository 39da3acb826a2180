"""What runs in a box before anything hostile does.

Started by path with `python -I -S -B`, so it imports the standard library and itself alone; the
supervisor imports it too, for the words that the two say to each other.
"""
