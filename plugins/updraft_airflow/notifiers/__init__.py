"""Airflow notifiers of Updraft."""
