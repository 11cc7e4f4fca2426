"""What a person in charge sees of the models: where each stands and why, and what may be done about it.

`updraft status`, the API and the pages say the same.
"""
