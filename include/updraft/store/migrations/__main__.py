"""Entry of ``python -m updraft.store.migrations [downgrade REVISION]``: the schema of the store that UPDRAFT_STORE names."""

import argparse
import os
import sys

from updraft.errors import UpdraftError
from updraft.settings import Settings
from updraft.store.migrations import downgrade, upgrade

parser = argparse.ArgumentParser(prog="python -m updraft.store.migrations", description=__doc__)
commands = parser.add_subparsers(dest="command")
commands.add_parser("upgrade", help="to the newest revision (the default)")
commands.add_parser("downgrade", help="to an older one, where it can be undone").add_argument("revision")
chosen = parser.parse_args()
try:
    url = Settings.from_env(os.environ).need_store()
    if chosen.command == "downgrade":
        downgrade(url, chosen.revision)
    else:
        upgrade(url)
except UpdraftError as error:
    sys.exit(str(error))
