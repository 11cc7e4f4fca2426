"""The runbook: what each alert and each failed task means, how to see more, what to do, how to undo it.

The alerts take their words from here, docs/runbook.md is written from here (``make docs``), and Airflow shows it at ``/updraft/runbook``,
to which every alert links.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from updraft.alerts.words import CAUSES, REMEDIES, VERDICTS

FILE = "docs/runbook.md"
PAGE = "updraft/runbook"
"""Of Airflow's UI: the same page, for people who have no checkout at hand."""
ANY_TASK = "task"
"""Entry of a failed task that has none of its own."""


@dataclass(frozen=True)
class Entry:
    """One entry of the runbook."""

    title: str
    means: str
    look: str
    """How to see more."""
    do: str
    undo: str


_CLEAR_AGAIN = (
    "Clearing is safe as often as you like: every task takes up where it stopped, and what is done is not done twice."
)
_LOG = "The task's log (the alert links to it); `updraft status PROJECT` says what else is wanted."
_NOTHING_TO_UNDO = "Nothing was changed that would have to be undone."

ALERTS: dict[str, Entry] = {
    "refused": Entry(
        "Partition refused",
        "The contract in expectations.yaml does not hold for the partition as a whole, or more rows broke it than data.refuse_above"
        " allows. The headline "
        "names the rule, what was observed and what is allowed. Nothing of the partition was published; the model serves on.",
        "The data docs of the partition: the link of validate_partition in Airflow. Quarantined rows stand in the lake with their reasons.",
        "Mend the source, then clear the run of PROJECT.ingest: clearing validate_partition alone checks the copy that was read before. "
        "If the data are right as they are, correct the rule and clear validate_partition. If they stay as they are: "
        "`updraft pass-over PROJECT PARTITION --reason WHY`.",
        "A partition that is passed over and published later counts as any other.",
    ),
    "quarantine": Entry(
        "Rows in quarantine",
        "Some rows broke the contract and were set aside with their reasons; the other rows were published. Routine: it stands in the digest.",
        "The data docs of the partition; `updraft quarantine show PROJECT PARTITION` prints the rows.",
        "Nothing at once. If it goes on, ask the owner of the source, or correct the contract.",
        "Mend the source or the contract and clear the run: the partition is published anew.",
    ),
    "outside": Entry(
        "Rows that belong to no partition",
        "More rows of the partition's own file than usual have a time outside of the partition, or none. The other rows were published.",
        "The data docs of the partition count them by source.",
        "Look at the times in the file: a wrong year, zone or format looks like this. Mend it and clear the run. If the file is "
        "meant to hold other days too, nothing.",
        _NOTHING_TO_UNDO,
    ),
    "labels_lost": Entry(
        "Labels that find no row",
        "More labels than usual are of rows that were never published: their key is written in another form than the rows' key, or the"
        " rows never came. They are kept, and nothing is learnt from them.",
        "The alert shows the form of both keys, without what they say; the data docs of the partition.",
        "Look at the key in both files: another form of it, such as 7 for 007, is another row. Write it as it was, and clear the run.",
        "The partition is published anew, and its labels count.",
    ),
    "labels_unlisted": Entry(
        "Labels of no known class",
        "Labels came that are none of `data.label.classes`, and none or far fewer did before: they are written in another way, or the world has"
        " a new class. They are left out.",
        "`updraft status PROJECT` counts them by partition; `updraft validate PROJECT` names the labels that it meets.",
        "Written wrongly: mend the source, and clear the run. A new class: published labels and models speak of positions in the list, so it"
        " needs a project of another name; or let `data.label.expr` put it under a class that there is.",
        "The partition is published anew, and its labels count.",
    ),
    "late": Entry(
        "A file is late",
        "A partition has no file yet, or the one file of all time holds nothing from the partition's start on yet, longer after its tick than"
        " data.sources.NAME.wait allows. It is read by itself if it comes before the next tick.",
        "`updraft status PROJECT`; the run of PROJECT.ingest that waits.",
        "Ask whoever delivers it. If it comes after the next tick, clear the run of PROJECT.ingest; so too when a file of all time goes on with"
        " later rows and none of this partition, which is empty then. A feed that is often quiet says `wait: 0s`. If it never comes: "
        "`updraft pass-over PROJECT PARTITION --reason WHY`.",
        "A partition that is passed over and published later counts as any other.",
    ),
    "episode": Entry(
        "Episode",
        "Something is to be done about the model, and why. Causes: " + "; ".join(CAUSES.values()) + ".",
        "PROJECT.monitor: decide_remedies links to the page Learning, write_report to the Evidently report; `updraft status PROJECT`.",
        " ".join(f"*{remedy}*: {needs or does}" for remedy, (does, needs) in REMEDIES.items()),
        "A training's model that turns out worse is rolled back by its probation; `updraft rollback PROJECT --reason WHY` does so at once. "
        "`updraft readmit PROJECT PARTITION --reason WHY` takes back that a partition is kept out.",
    ),
    "trained": Entry(
        "A version was trained",
        "A training passed its gates; the version is signed and registered, and its release starts. Routine.",
        "`updraft show PROJECT VERSION`; its page in MLflow.",
        "Nothing.",
        "`updraft rollback PROJECT --reason WHY`, once it serves.",
    ),
    "refused_model": Entry(
        "A version was refused",
        "A training did not pass its gates. The model that serves stays; the refused one stays in MLflow with its reasons. Routine.",
        "The model card (link of evaluate_model) has the slices; `updraft show PROJECT VERSION`.",
        "Nothing at once. Refused twice in a row: the features or the world changed; look at the slices.",
        _NOTHING_TO_UNDO,
    ),
    "verdict": Entry(
        "Verdict",
        "The evidence on a release has spoken. Routine, unless it changes what serves, which is told apart.",
        "The picture of its evidence: a link of await_verdict; docs/verdict.md has the statistics.",
        " ".join(f"*{verdict.replace('_', ' ')}*: {does}" for verdict, (does, _) in VERDICTS.items()),
        "A rejected change is started anew by PROJECT.train.",
    ),
    "approval": Entry(
        "A version waits for your approval",
        "A change was shown good enough in shadow. It does not serve before a person says so, and is rejected when nobody does in time.",
        "The task's page in Airflow shows the evidence and its picture; `updraft show PROJECT VERSION`.",
        "Open the link and approve or reject.",
        "`updraft rollback PROJECT --reason WHY` puts the version before back; a rejected change is started anew by PROJECT.train.",
    ),
    "promotion": Entry(
        "A version serves now",
        "What serves has changed: a change that was approved, or a refresh, which is then on probation.",
        "`updraft show PROJECT VERSION`; its page in MLflow.",
        "Nothing.",
        "`updraft rollback PROJECT --reason WHY` puts the version before back now.",
    ),
    "rollback": Entry(
        "Rolled back",
        "The version before serves again: the new one was shown worse, or a person asked for it.",
        "`updraft show PROJECT VERSION` of the version that was taken back: its losses beside those of its predecessor.",
        "Find out what it had learnt before the next training; `updraft status PROJECT` says when that is.",
        "Start PROJECT.train by hand: the model comes back as a release with its own proof.",
    ),
    "reinstated": Entry(
        "Reinstated",
        "A person put a version back that had been taken back: it serves from the next partition on.",
        "`updraft show PROJECT VERSION` of both versions.",
        "Nothing.",
        "`updraft rollback PROJECT --reason WHY`.",
    ),
    "superseded": Entry(
        "A release was superseded",
        "Another release took its place before it was decided. A question about it is withdrawn; the model that serves stays. A change of the "
        "same recipe goes on with its evidence: it learnt again, along with a champion that was refreshed.",
        "`updraft show PROJECT VERSION`.",
        "Nothing where it says *continued by*; else start PROJECT.train anew if the change is still wanted.",
        _NOTHING_TO_UNDO,
    ),
    "unjudged": Entry(
        "Kept, and could not be judged",
        "A probation is over, and nobody knows whether the version is worse than the one before: the alert has the figures. It goes on serving.",
        "`updraft show PROJECT VERSION` of both versions.",
        "Look at both versions' losses. To judge the next one: raise release.refresh.probation_at_most, allow a larger release.margin, or "
        "retrain less often.",
        "`updraft rollback PROJECT --reason WHY` shows the two side by side before it asks.",
    ),
    "training_ended": Entry(
        "A training that was called for brought nothing",
        "The training of an episode failed for good, or was interrupted; the episode is closed. The model that serves stays.",
        "The run of PROJECT.train; `updraft status PROJECT`.",
        "See why it failed. A run that is mended still counts; the next training is called for as the policy says.",
        _NOTHING_TO_UNDO,
    ),
    "lasting_sign": Entry(
        "Fault or the new normal?",
        "A sign of a broken feed has kept several partitions in a row out of every training. Nothing learns from them until a "
        "person says which it is.",
        "The page Learning (link of decide_remedies); `updraft status PROJECT`.",
        "If that is how the data are from now on, the command that the alert names: "
        "`updraft readmit PROJECT --column COLUMN --sign KIND --always --reason WHY`. If it is a fault, mend the source and clear the "
        "runs of PROJECT.ingest, from the first of these partitions on.",
        "`updraft readmit PROJECT --column COLUMN --sign KIND --undo --reason WHY`.",
    ),
    "training_overdue": Entry(
        "No training for too long",
        "More partitions have passed without a training than the policy lets pass. The alert says what is in the way, as far as the"
        " store shows it.",
        "`updraft status PROJECT`: what is in the way stands in a line that begins with `wanted:`, the next training in one with `next:`.",
        "Clear what is in the way. If so few trainings are right, say so in alerts.training_older_than.",
        _NOTHING_TO_UNDO,
    ),
    "tampered": Entry(
        "Something signed was changed",
        "A model, a file or a decision is not what was signed. It was not used. This cannot be switched off.",
        "`updraft audit verify PROJECT`; the log of the task that found it.",
        "Treat it as a security event: find out who wrote there. Restore the files from a backup, or roll back to a version that is"
        " whole: `updraft rollback PROJECT --to VERSION --reason WHY`.",
        "docs/security.md says what to do after each kind of leak.",
    ),
    "no_node": Entry(
        "No node for a training",
        "A training's pod waited for a node as long as training.compute.wait_at_most lets it.",
        "The training's page of pods: a link of train_model.",
        "Free or add such a node, or change training.compute; then clear train_model.",
        _NOTHING_TO_UNDO,
    ),
    "more_memory": Entry(
        "A training was short of memory",
        "A training was killed for memory and goes on from its checkpoint with more, up to training.compute.memory_cap. Routine.",
        "The training's page of pods: a link of train_model.",
        "Raise training.compute.memory, so that the next one need not die first; `updraft rightsize PROJECT` proposes.",
        _NOTHING_TO_UNDO,
    ),
    "untold": Entry(
        "Not told in full",
        "Something happened and could not be read from the store as it was to be told. What was decided or published stands.",
        "The task's log has the error.",
        "Read what happened with `updraft status PROJECT`.",
        _NOTHING_TO_UNDO,
    ),
    "restarts": Entry(
        "A program keeps dying",
        "The process manager restarted a program of the stack more than twice in ten minutes. It goes on trying, every half minute at most.",
        '`make logs ARGS="PROGRAM"`; `updraft doctor`.',
        "Mend what its log says: memory, disk, a port, a setting.",
        "`make down up` starts everything anew; data stay.",
    ),
    "resolved": Entry(
        "Resolved",
        "What was told is over: the task ended well, the partition was published or passed over, the feed is sound in the newest partition, a sign "
        "shows no more or was readmitted, a training has brought a model, a program has run for ten minutes. The first message says so in its "
        "headline and keeps its cause.",
        "The thread it stands in; the data docs keep a refusal, marked as resolved.",
        "Nothing.",
        _NOTHING_TO_UNDO,
    ),
    "digest": Entry(
        "Digest of the week",
        "What was routine: it needed nobody and left what serves as it was. `alerts.routine` in project.yaml says `digest`, `post` "
        "(each at once) or `drop`.",
        "`updraft status PROJECT`.",
        "Nothing.",
        _NOTHING_TO_UNDO,
    ),
    "backlog": Entry(
        "Alerts that stood in the store",
        "Slack could not be reached for a while, or was connected only now. What is older than 26 hours is summed up and not sent; "
        "the rest follows.",
        "`updraft status PROJECT`.",
        "Look at what the message names as not mended.",
        _NOTHING_TO_UNDO,
    ),
}
"""By the name that an alert carries."""

TASKS: dict[str, Entry] = {
    "extract_partition": Entry(
        "ingest: extract_partition",
        "A source is not there, or does not read. Nothing of the partition was published.",
        _LOG,
        "Mend the source, then clear this task: it reads the source anew.",
        _CLEAR_AGAIN,
    ),
    "validate_partition": Entry(
        "ingest: validate_partition",
        "The contract could not be held against the partition. A partition that was refused is told as *Partition refused*.",
        _LOG,
        "Correct expectations.yaml if the log names it, then clear this task. After mending a source clear the run: this task alone"
        " checks the copy that was read before.",
        _CLEAR_AGAIN,
    ),
    "publish_partition": Entry(
        "ingest: publish_partition",
        "`features` failed on the partition, or gave other columns than before. What was published of it before stays.",
        _LOG,
        "Correct features.py, then clear this task.",
        _CLEAR_AGAIN,
    ),
    "score_partition": Entry(
        "score: score_partition",
        "The champion could not score the partition.",
        _LOG,
        "Mend the cause, then clear this task. A model that was changed is told as *Something signed was changed*.",
        _CLEAR_AGAIN,
    ),
    "measure_performance": Entry(
        "monitor: measure_performance",
        "Losses on the labels that matured could not be computed.",
        _LOG,
        "Mend the cause, then clear this task.",
        _CLEAR_AGAIN,
    ),
    "recalibrate_models": Entry(
        "monitor: recalibrate_models",
        "The calibration layers could not be refitted; those in force stay.",
        _LOG,
        "Mend the cause, then clear this task.",
        _CLEAR_AGAIN,
    ),
    "decide_remedies": Entry(
        "monitor: decide_remedies",
        "Drift could not be looked at; no episode was opened at this tick.",
        _LOG,
        "Mend the cause, then clear this task.",
        _CLEAR_AGAIN,
    ),
    "write_report": Entry(
        "monitor: write_report",
        "The Evidently report could not be written. Nothing else waits for it.",
        _LOG,
        "Clear this task when the cause is mended.",
        _NOTHING_TO_UNDO,
    ),
    "await_remedy": Entry(
        "watch: await_remedy",
        "The sensor that waits for an episode failed: no training starts by itself meanwhile.",
        _LOG,
        "Mend the cause, then start PROJECT.watch, or clear this task.",
        _CLEAR_AGAIN,
    ),
    "start_training": Entry(
        "watch, search: start_training",
        "The training that an episode or a search calls for could not be started.",
        _LOG,
        "Clear this task: an episode's training starts once, however often.",
        _CLEAR_AGAIN,
    ),
    "note_start": Entry(
        "watch: note_start",
        "The training was started, and its episode does not know it yet.",
        _LOG,
        "Clear this task.",
        _CLEAR_AGAIN,
    ),
    "snapshot_data": Entry(
        "train: snapshot_data",
        "The partitions to learn from could not be put together.",
        _LOG,
        "Mend what the log names (a partition that is missing is ingested again), then clear this task.",
        _CLEAR_AGAIN,
    ),
    "train_model": Entry(
        "train: train_model",
        "The training failed: the log, or `error.json` beside its request, says whether data, memory or a node was in the way.",
        "The task's log; its page of pods and its MLflow run are links of the task.",
        "Mend the cause, then clear this task: it goes on from its checkpoint.",
        "A parameter that was wrong is corrected in project.yaml, and PROJECT.train started anew.",
    ),
    "evaluate_model": Entry(
        "train: evaluate_model",
        "The new model could not be held against what serves on the holdout.",
        _LOG,
        "Mend the cause, then clear this task.",
        _CLEAR_AGAIN,
    ),
    "register_model": Entry(
        "train: register_model",
        "The model could not be signed or registered; mostly MLflow does not answer.",
        "The task's log; `updraft doctor`.",
        "Bring MLflow back, then clear this task: a model is registered once.",
        _CLEAR_AGAIN,
    ),
    "start_release": Entry(
        "train: start_release",
        "The release of a trained version could not be started.",
        _LOG,
        "Clear this task.",
        _CLEAR_AGAIN,
    ),
    "check_staging": Entry(
        "release: check_staging",
        "The version cannot be read, is not what was signed, or its release is over.",
        _LOG,
        "Mend the cause, then clear this task.",
        _CLEAR_AGAIN,
    ),
    "choose_lane": Entry(
        "release: choose_lane",
        "Whether the version is a refresh or a change could not be read from the store.",
        _LOG,
        "Clear this task when the store answers.",
        _CLEAR_AGAIN,
    ),
    "await_verdict": Entry(
        "release: await_verdict",
        "The sensor that waits for the evidence of a shadow failed. The shadow goes on collecting.",
        _LOG,
        "Clear this task.",
        _CLEAR_AGAIN,
    ),
    "await_shadow": Entry(
        "release: await_shadow",
        "The sensor that waits for a refresh to be scored in shadow failed.",
        _LOG,
        "Clear this task.",
        _CLEAR_AGAIN,
    ),
    "approve_change": Entry(
        "release: approve_change",
        "The question could not be put, or its answer could not be written down. The model that serves stays.",
        _LOG,
        "Clear this task, and answer.",
        "A promotion is undone by `updraft rollback PROJECT --reason WHY`.",
    ),
    "approve_refresh": Entry(
        "release: approve_refresh",
        "As approve_change, of a refresh.",
        _LOG,
        "Clear this task, and answer.",
        "A promotion is undone by `updraft rollback PROJECT --reason WHY`.",
    ),
    "promote_change": Entry(
        "release: promote_change",
        "The version was not promoted: an approval or a proof is missing, or the store or MLflow does not answer.",
        _LOG,
        "Mend the cause, then clear this task: it promotes once.",
        "`updraft rollback PROJECT --reason WHY`.",
    ),
    "promote_refresh": Entry(
        "release: promote_refresh",
        "As promote_change, of a refresh.",
        _LOG,
        "Mend the cause, then clear this task: it promotes once.",
        "`updraft rollback PROJECT --reason WHY`.",
    ),
    "await_probation": Entry(
        "release: await_probation",
        "The sensor that waits for the end of a probation failed: a refresh that is worse would not be rolled back by itself.",
        _LOG,
        "Clear this task.",
        "`updraft rollback PROJECT --reason WHY`.",
    ),
    "compare_versions": Entry(
        "rollback: compare_versions",
        "The form names a version that cannot serve in place of the champion: unknown, serving already, never promoted; or the losses could not"
        " be read.",
        _LOG,
        "Start PROJECT.rollback again with what the log says.",
        _NOTHING_TO_UNDO,
    ),
    "confirm_return": Entry(
        "rollback: confirm_return",
        "The question whether a version is to serve again could not be asked.",
        _LOG,
        "Clear this task, or use `updraft rollback PROJECT --reason WHY` or `updraft reinstate PROJECT VERSION --reason WHY`.",
        _NOTHING_TO_UNDO,
    ),
    "return_version": Entry(
        "rollback: return_version",
        "A version was to serve again and does not: something else serves by now, or the store did not answer.",
        _LOG,
        "Start PROJECT.rollback again: what it compared has changed.",
        "`updraft reinstate PROJECT VERSION --reason WHY` after a rollback; `updraft rollback PROJECT --reason WHY` after a reinstatement.",
    ),
    "plan_search": Entry(
        "search: plan_search",
        "The search could not be planned.",
        _LOG,
        "Mend training.search, then clear this task.",
        _CLEAR_AGAIN,
    ),
    "search_trial": Entry(
        "search: search_trial",
        "One trial failed; the others count.",
        _LOG,
        "Nothing, unless all fail; then mend the cause and clear them.",
        _CLEAR_AGAIN,
    ),
    "choose_parameters": Entry(
        "search: choose_parameters",
        "No trial came to a result, or they could not be read.",
        _LOG,
        "Mend what the trials' logs say, clear them, then this task.",
        _CLEAR_AGAIN,
    ),
    "reconcile_aliases": Entry(
        "maintenance: reconcile_aliases",
        "MLflow's aliases could not be brought in line with the store. Serving does not hang on them.",
        _LOG,
        "Bring MLflow back, then clear this task.",
        _NOTHING_TO_UNDO,
    ),
    "verify_decisions": Entry(
        "maintenance: verify_decisions",
        "A chain of decisions is broken, or could not be read. Broken means that somebody changed the store.",
        "`updraft audit verify PROJECT` names every decision that is missing, changed or not ours.",
        "Treat a broken chain as a security event; if the store was away, clear this task.",
        "docs/backup.md: restore.",
    ),
    "watch_learning": Entry(
        "maintenance: watch_learning",
        "Whether a training is overdue could not be read.",
        _LOG,
        "Clear this task when the store answers.",
        _NOTHING_TO_UNDO,
    ),
    "send_alerts": Entry(
        "maintenance: send_alerts",
        "Alerts of the log's project could not be sent, or its digest not made: the store is away. Nothing is lost.",
        _LOG,
        "Clear this task when the store answers.",
        _NOTHING_TO_UNDO,
    ),
    "remove_leftovers": Entry(
        "maintenance: remove_leftovers",
        "Files of killed tasks, or raw copies beyond their retention, could not be removed.",
        _LOG,
        "Mend the rights or the bucket, then clear this task.",
        _NOTHING_TO_UNDO,
    ),
    "remove_pods": Entry(
        "maintenance: remove_pods",
        "Pods of trainings that are over could not be looked for or removed.",
        _LOG,
        "Mend the cluster's connection, then clear this task.",
        _NOTHING_TO_UNDO,
    ),
    "show_problems": Entry(
        "broken: show_problems",
        "The project's folder is broken; its DAGs come back as soon as it is sound.",
        "`updraft validate PROJECT` names every problem with file and line.",
        "Correct what it names.",
        "The version of the folder before.",
    ),
    ANY_TASK: Entry(
        "Any other task or run",
        "A task has failed for good, or a run was ended. What it had published stays; nothing half done is visible.",
        _LOG,
        "Read the log, mend the cause, then clear the failed task: it takes up where it stopped.",
        _CLEAR_AGAIN,
    ),
}
"""By task id. Their `do` is what the alert of the failed task says."""


def entry_of_task(task: str) -> str:
    """The entry of a failed task; of a run that failed without one, or a task that has none, that of any other."""
    name = task.partition("[")[0]
    return name if name in TASKS else ANY_TASK


def link(entry: str, airflow: str) -> str:
    """Where a person can open an entry: the page of Airflow's UI, or without its address the file of a checkout."""
    return f"{airflow}/{PAGE}#{entry}" if airflow else f"{FILE}#{entry}"


def entries() -> Iterator[tuple[str, Entry]]:
    """Every entry with its name, alerts first."""
    yield from ALERTS.items()
    yield from TASKS.items()


def markdown() -> str:
    """The page as it stands in docs/runbook.md."""
    lines = [
        "# Runbook",
        "",
        "For each alert and each failed task: what it means, how to see more, what to do, how to undo it. Written from the texts that the",
        "alerts themselves use: `make docs`, never by hand. Every alert links to its entry here, at `/updraft/runbook` of Airflow's UI.",
        "",
        "`PROJECT`, `PARTITION`, `VERSION`, `COLUMN`, `KIND` (of a sign, such as `nulls`), `PROGRAM` and `WHY` stand for yours.",
        "To clear a run or a task: its page in Airflow, *Clear*.",
    ]
    for heading, part in (("Alerts", ALERTS), ("Failed tasks", TASKS)):
        lines += ["", f"## {heading}"]
        for name, entry in part.items():
            lines += ["", f'<a id="{name}"></a>', "", f"### {entry.title}", ""]
            lines += [f"* **Means:** {entry.means}", f"* **See more:** {entry.look}"]
            lines += [f"* **Do:** {entry.do}", f"* **Undo:** {entry.undo}"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import sys

    sys.stdout.write(markdown())
