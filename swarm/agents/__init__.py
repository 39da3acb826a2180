"""What proposes: the built-in mutator and language models, behind one protocol."""
