"""Entry of ``python -m updraft.search``: bring Optuna's tables in the store that UPDRAFT_STORE names to the installed version."""

import os
import sys

from updraft.errors import UpdraftError
from updraft.search.schema import upgrade_search_schema
from updraft.settings import Settings

try:
    upgrade_search_schema(Settings.from_env(os.environ).need_store())
except UpdraftError as error:
    sys.exit(str(error))
