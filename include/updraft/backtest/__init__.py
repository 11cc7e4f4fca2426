"""Backtest: what a policy would have cost and gained over a project's history, in process."""
