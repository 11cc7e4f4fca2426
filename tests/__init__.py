"""A package, so that rooms can be packages: what a room shares ends with its last test."""
