"""A project for a table that nobody has described yet: what is understood of it, what is guessed, and the three files that say so."""
