"""The runbook's entries of alerts."""

from __future__ import annotations

from updraft.alerts.runbook.entry import NOTHING_TO_UNDO, Entry
from updraft.alerts.words import CAUSES, REMEDIES, VERDICTS

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
        NOTHING_TO_UNDO,
    ),
    "labels_lost": Entry(
        "Labels that find no row",
        "More labels than usual are of rows that were never published: their key is written in another form than the rows' key, or the"
        " rows never came. They are kept, and nothing is learnt from them.",
        "The alert shows the form of both keys, without what they say; the data docs of the partition.",
        "Look at the key in both files: another form of it, such as 7 for 007, is another row. Write it as it was, and clear the run.",
        "The partition is published anew, and its labels count.",
    ),
    "revised": Entry(
        "A partition published anew",
        "A partition was ingested again and its content is another one, after a version that is in use had learnt from it: the source was corrected"
        " and the run cleared, or rows were released from quarantine. Routine: it stands in the digest.",
        "`updraft lineage PROJECT VERSION` marks the partitions of a version that changed since; the data docs count the rows.",
        "Nothing, if the change is small: the next training reads what is there now. If what was delivered first was wrong, train now, by the form"
        " of PROJECT.train.",
        NOTHING_TO_UNDO,
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
    "figure_limit": Entry(
        "A business figure beyond its limit",
        "A figure of monitoring.figures is below monitoring.figures.NAME.at_least or above monitoring.figures.NAME.at_most on a partition whose"
        " labels are all known, or could not be computed though it has a limit. It is told once for the partition. Nothing follows from it by"
        " itself.",
        "The page of the partition and that of the project draw each figure by partition; `updraft status PROJECT` has the newest ones.",
        "Hold it against the loss: a loss as ever means that the world or the threshold of the business changed, not the model. If the model is what"
        " costs, train now, or roll back. If the limit is wrong, correct it in project.yaml; a figure that gives null or fails needs another"
        " expression.",
        NOTHING_TO_UNDO,
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
        NOTHING_TO_UNDO,
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
        NOTHING_TO_UNDO,
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
        NOTHING_TO_UNDO,
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
        NOTHING_TO_UNDO,
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
        NOTHING_TO_UNDO,
    ),
    "more_memory": Entry(
        "A training was short of memory",
        "A training was killed for memory and goes on from its checkpoint with more, up to training.compute.memory_cap. Routine.",
        "The training's page of pods: a link of train_model.",
        "Raise training.compute.memory, so that the next one need not die first; `updraft rightsize PROJECT` proposes.",
        NOTHING_TO_UNDO,
    ),
    "untold": Entry(
        "Not told in full",
        "Something happened and could not be read from the store as it was to be told. What was decided or published stands.",
        "The task's log has the error.",
        "Read what happened with `updraft status PROJECT`.",
        NOTHING_TO_UNDO,
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
        NOTHING_TO_UNDO,
    ),
    "digest": Entry(
        "Digest of the week",
        "What was routine: it needed nobody and left what serves as it was. `alerts.routine` in project.yaml says `digest`, `post` "
        "(each at once) or `drop`.",
        "`updraft status PROJECT`.",
        "Nothing.",
        NOTHING_TO_UNDO,
    ),
    "backlog": Entry(
        "Alerts that stood in the store",
        "Slack could not be reached for a while, or was connected only now. What is older than 26 hours is summed up and not sent; "
        "the rest follows.",
        "`updraft status PROJECT`.",
        "Look at what the message names as not mended.",
        NOTHING_TO_UNDO,
    ),
}
"""By the name that an alert carries."""
