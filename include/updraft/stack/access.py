"""Short-lived access to this deployment's Airflow, for who holds its secrets: no account waits for it, no password is sent."""

from __future__ import annotations

from updraft.airflow_api import AirflowApi, Signer
from updraft.stack.environment import issuer
from updraft.stack.layout import Layout
from updraft.stack.secrets import load_or_make

ADMIN, REPLAY = "admin", "replay"
"""A person's account, and the name in which a replay answers approvals: no account."""

_ROLES = {ADMIN: "admin", REPLAY: "op"}


def sign_in(layout: Layout, base: str, user: str, *, lasts: float = 120.0) -> AirflowApi:
    """Airflow's API as one of the two users, for a short time.

    :param base: address of the API server.
    :param lasts: seconds.
    """
    signer = Signer(secret=load_or_make(layout.secrets).jwt, issuer=issuer(layout))
    return AirflowApi.signed(base, user, _ROLES[user], signer, lasts=lasts)
