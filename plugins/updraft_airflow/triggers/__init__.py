"""Airflow triggers of Updraft."""
