"""Entry of ``python -m updraft.store.migrations``."""

import os

from updraft.settings import Settings
from updraft.store.migrations import upgrade

upgrade(Settings.from_env(os.environ).need_store())
