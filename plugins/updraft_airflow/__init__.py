"""Updraft acts: turns the library's decisions into operators, sensors, triggers and links."""
