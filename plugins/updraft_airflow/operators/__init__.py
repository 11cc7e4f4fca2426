"""Airflow operators of Updraft."""
