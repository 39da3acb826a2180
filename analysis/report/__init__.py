"""The report of a run, one file that a stranger can judge. Imported by analysis and swarm.

`facts` gathers what the record says, `render` writes it as HTML or Markdown by the templates beside
it. Every figure is a query's result, and each section names the command that derives it again.
"""
