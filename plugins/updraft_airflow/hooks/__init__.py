"""Airflow connections that Updraft uses."""
