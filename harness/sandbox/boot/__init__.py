"""Starts sandboxes: cold, from a zygote, or ahead of time.

Imported by sandbox.run and self_check.
"""
