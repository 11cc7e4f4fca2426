"""Release: evidence, the bound on a gain that may be looked at at any time, the verdict."""
