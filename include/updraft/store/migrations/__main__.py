"""Entry of ``python -m updraft.store.migrations [check | downgrade REVISION]``: the schema of the store that UPDRAFT_STORE names."""

import argparse
import os
import sys

import sqlalchemy as sa

from updraft.errors import UpdraftError
from updraft.settings import Settings
from updraft.store.migrations import downgrade, pending, upgrade
from updraft.store.trouble import trouble

parser = argparse.ArgumentParser(prog="python -m updraft.store.migrations", description=__doc__)
commands = parser.add_subparsers(dest="command")
commands.add_parser("upgrade", help="to the newest revision (the default)")
commands.add_parser("downgrade", help="to an older one, where it can be undone").add_argument("revision")
commands.add_parser("check", help="change nothing; exit status 1, with what to do, while the store lacks one")
chosen = parser.parse_args()
try:
    url = Settings.from_env(os.environ).need_store()
    if chosen.command == "downgrade":
        downgrade(url, chosen.revision)
    elif chosen.command != "check":
        upgrade(url)
    elif missing := pending(url):
        sys.exit(f"the store lacks {missing[0]} to {missing[-1]}; run: python -m updraft.store.migrations")
except UpdraftError as error:
    sys.exit(str(error))
except sa.exc.DBAPIError as error:
    sys.exit(trouble(error))
