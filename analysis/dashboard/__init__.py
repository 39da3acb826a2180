"""The live page: a read-only web server on a repository's runs. Imported by swarm.

`access` decides who may ask, `records` opens runs, `pages` and `charts` answer, `feed` tells of new
events. Its libraries are the extra `dashboard`. A new page is a function in `pages`, a template
beside the others, and a route in `app`.
"""
