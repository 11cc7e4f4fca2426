"""What to say, to whom, and when to stay quiet.

``messages`` builds an alert from what happened, ``policy`` says which of them go out and how, ``outbox`` keeps them in
the store (each event once, duplicates folded), ``blocks`` lays one out for Slack and ``slack`` delivers.
"""
