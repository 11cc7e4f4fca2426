"""What on-call hears of the loop: each event becomes one alert in the outbox. Recording the same one again changes nothing.

Telling never fails whoever tells. What goes wrong stands in the log; an alert that the store does not take is kept
(:mod:`updraft.alerts.untold`), and of an event that cannot be told in full it is told that it happened.
"""
