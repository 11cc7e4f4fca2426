"""What people said about signs of broken feeds: which of them are no faults any more, and when that was taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from updraft.store.chain import Chain
from updraft.store.records import Decision, KeptOut, Sign
from updraft.store.state import readmission

ACCEPT = "accept_sign"
"""Kind of the decision that signs are no faults from now on (``accepted``), or are faults again."""


class Signs(Chain):
    """Decisions of people about signs."""

    def sign_decisions(self, project: str) -> dict[Sign, Decision]:
        """The newest decision about each sign, in the order of the first ones: accepted, or taken back.

        Only decisions of this kind are read, by their index: each was made by a person, so there are a few, however long the history.
        """
        return _newest(self.decisions(project, kinds=(ACCEPT,)))

    def accepted_signs(self, project: str) -> dict[Sign, Decision]:
        """Signs that are no faults any more, each with the decision that says so."""
        return {sign: decision for sign, decision in self.sign_decisions(project).items() if decision.body["accepted"]}

    def decide_signs(
        self, project: str, signs: Sequence[Sign], *, key: str, accepted: bool, by: str, reason: str
    ) -> Decision | None:
        """Decide that signs are no faults from now on, or are faults again; None when all of that stands already."""
        with self.writing(project) as writing:
            before = self._links(writing.connection, project, (ACCEPT,))
            newest = _newest(before)
            standing = {sign for sign, decision in newest.items() if decision.body["accepted"]}
            news = [sign for sign in signs if (sign in standing) != accepted]
            if not news:
                return None
            body = {"signs": [list(sign) for sign in news], "accepted": accepted, "by": by, "reason": reason}
            subject = f"signs {len(before) + 1}"  # a sign may be accepted, taken back, and accepted again
            return self.append(writing, project, key=key, kind=ACCEPT, subject=subject, body=body)

    def readmit(self, project: str, partitions: Sequence[KeptOut], *, key: str, body: Mapping[str, Any]) -> None:
        """Readmit the content of partitions: a decision for each, all of them or none.

        :param body: what each decision says beside its partition and its signs.
        """
        with self.writing(project) as writing:
            for partition in partitions:
                said = {"partition": partition.key, **body, "signs": [list(sign) for sign in partition.signs]}
                subject = readmission(partition.key, partition.content)
                self.append(writing, project, key=key, kind="readmit", subject=subject, body=said)


def _newest(decisions: Sequence[Decision]) -> dict[Sign, Decision]:
    """The newest of some decisions, which are in their order, about each sign."""
    return {(kind, column): decision for decision in decisions for kind, column in decision.body["signs"]}
