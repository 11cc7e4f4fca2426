"""The loop, step by step. Each step reads the store, decides, and writes its decision once: the DAGs and the backtest call the same steps."""
