"""Updraft decides: given data and a project's policy it returns a decision. It never imports Airflow."""
