"""Airflow sensors of Updraft."""
