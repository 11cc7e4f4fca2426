"""``python -m updraft.alerts.runbook`` prints docs/runbook.md."""

import sys

from updraft.alerts.runbook import markdown

sys.stdout.write(markdown())
