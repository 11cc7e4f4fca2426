"""SQL tables and what is written to them; one URL."""
