"""End-to-end tests. A package, as its stack is removed when the last of them has ended."""
