"""The pages as routes of Airflow's API server: who may see them, and what a browser lets them do."""
