"""Schema of program.md's front matter: a frozen record for each section, with validation.

A section builds the record that the rest of the program works with (`RatchetSection.policy`,
`guards_of`, ...). `swarm.project.program` reads the file. Imported where program.md is.
"""
