"""One class a kind of sandbox: namespaces, Landlock, none. Imported by sandbox.run alone."""
