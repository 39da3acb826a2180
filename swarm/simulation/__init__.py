"""Nights against a laboratory whose truth is known: how every policy of a swarm is justified.

The whole coordinator runs on virtual time; only agents, git and trials are replaced. Since the
true effect of every change is known, a night can be told what its keeps and claims were worth.
"""
