"""PostgreSQL, MLflow and Airflow on this machine, under a process manager that restarts what dies."""
