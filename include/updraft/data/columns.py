"""Names and frames of the published tables: what every other room may rely on.

Partition (one Parquet per partition, pseudonymised, without outcome columns):
    the columns of the row source under their own names, those of a joined source as ``<source>_<column>``,
    and ROW, EVENT_TIME, CLUSTER.
Labels (one Parquet per partition: the labels that matured between the previous tick and this one):
    ROW, PARTITION (key of the partition that holds the row), EVENT_TIME, CLUSTER, LABEL (float64; where the label has
    classes, the position in ``data.label.classes``).
Predictions (one Parquet per partition and role):
    ROW, MARGIN (raw model output, log-odds for binary), SCORE (what was served, after calibration; float64, or where the label has
    classes a list of float64 in the order of ``data.label.classes``; see :mod:`updraft.data.vectors`).
"""

ROW = "_row"
"""uint64: hash of the key columns; unique in a partition."""
EVENT_TIME = "_event_time"
"""timestamp, UTC."""
CLUSTER = "_cluster"
"""string: the unit of evidence (`release.cluster`): a date, a week such as 2013-W05, an hour, or the value of a column."""
PARTITION = "_partition"
LABEL = "label"
MARGIN = "margin"
SCORE = "score"
