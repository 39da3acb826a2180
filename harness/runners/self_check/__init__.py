"""The self-check's attacks, by subject.

Imported in a sandbox by self_check_attacks.py alone, and nothing but the standard library is there.
"""
