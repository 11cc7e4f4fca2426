"""A feature function is checked without running it, loaded without a trace, and its answer is looked at."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from updraft.errors import DataError
from updraft.spec.feature_source import static_problems
from updraft.spec.features import compute, load_features
from updraft.spec.load import SpecProblems, load_project
from updraft.spec.model import Project

ROOT = Path(__file__).resolve().parents[2]
OUTCOMES = "  outcomes: [spent, left_us]\n  key:"


@pytest.fixture
def project(make_project, smallest):
    """A project with outcomes, whose ``features.py`` a test writes anew."""
    return load_project(make_project(smallest.replace("  key:", OUTCOMES)))


@pytest.fixture
def rows():
    return pd.DataFrame(
        {"customer": ["a", "b", None], "age": [31.0, np.nan, 40.0], "visits": [1, 2, 3]}, index=[5, 3, 9]
    )


def write(project: Project, text: str) -> Project:
    (project.folder / "features.py").write_text(text)
    return project


def run(project: Project, rows: pd.DataFrame, expression: str) -> pd.DataFrame:
    """Compute ``features`` with this expression over ``rows``."""
    text = f"import numpy as np\nimport pandas as pd\n\ndef features(rows):\n    return {expression}\n"
    return compute(project, load_features(write(project, text)), rows)


def test_the_hash_is_that_of_the_file(project):
    code = load_features(project)
    assert code.sha256 == hashlib.sha256(code.path.read_bytes()).hexdigest()
    assert code.path == project.folder / "features.py"


def test_loading_leaves_no_trace(project):
    path = list(sys.path)
    load_features(project)
    assert sys.path == path
    assert not (project.folder / "__pycache__").exists()
    assert "features" not in sys.modules


def test_two_versions_stand_beside_each_other(project, rows):
    text = "X = {}\ndef features(rows):\n    return rows[['age']] * X\n"
    one, two = (load_features(write(project, text.format(factor))) for factor in (1, 2))
    assert compute(project, one, rows)["age"].max() == 40
    assert compute(project, two, rows)["age"].max() == 80


def test_dataclasses_and_annotations_work_in_the_file(project, rows):
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom typing import ClassVar\n"
        "@dataclass\nclass Bands:\n    width: int\n    all: ClassVar[list[Bands]] = []\n"
        "def features(rows):\n    return rows[['age']] // Bands(10).width\n"
    )
    assert compute(project, load_features(write(project, text)), rows)["age"].tolist()[0] == 3


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("import airflow\n{}", 1, "imports airflow"),
        ("\nfrom airflow.sdk import Variable\n{}", 2, "imports airflow.sdk"),
        ("import importlib\nm = importlib.import_module('airflow.models')\n{}", 2, "imports airflow.models"),
        ("__import__('airflow')\n{}", 1, "imports airflow"),
        ("import updraft_airflow.wiring\n{}", 1, "imports updraft_airflow.wiring"),
        ("def f():\n    import airflow as a\n{}", 2, "imports airflow"),
        ("def features(rows:\n    pass", 1, "not Python"),
        ("x = 1\n", None, "has no function `features`"),
        ("class A:\n    def features(self): ...\n", None, "has no function `features`"),
        ("async def features(rows): ...\n", 1, "is async"),
        ("def features(rows, other): ...\n", 1, "must take one argument"),
        ("def features(): ...\n", 1, "must take one argument"),
        ("def features(rows, *, day): ...\n", 1, "must take one argument"),
        ("def features(rows):\n    return rows[['age']].assign(x=rows['spent'])\n", 2, "`spent` is an outcome"),
        ("def features(rows):\n    x = 1\n    return rows[['age', 'spent']]\n", 3, "`spent` is an outcome"),
        ("\x00", None, "not Python"),
        pytest.param("x = " + "-" * 100_000 + "1\n", None, "not Python", id="deep"),
    ],
)
def test_what_shows_without_running_is_found_without_running(project, text, line, message):
    write(project, text.format("def features(rows):\n    return rows\n"))
    [problem] = static_problems(project.folder, project.spec)
    assert message in str(problem)
    assert problem.line == line
    assert problem.file.endswith("features.py")
    with pytest.raises(SpecProblems, match=r"features\.py"):
        load_features(project)


@pytest.mark.parametrize(
    "text",
    [
        "import airflow_like_name\ndef features(rows): return rows\n",
        "# import airflow\ndef features(rows): return rows\n",
        "features = lambda rows: rows\n",
        "from mine import features\n",
        "from mine import something as features\n",
        "try:\n    import x\nexcept ImportError:\n    pass\nif True:\n    def features(rows): return rows\n",
        "def features(rows, scale=1): return rows\n",
        "def features(rows):\n    rows = rows.assign(spent=0)\n    return rows[['spent']]\n",
        "def features(rows):\n    rows['spent'] = 0\n    return rows[['spent']].join(rows['spent'])\n",
        "def features(rows):\n    rows[['spent', 'left_us']] = 0\n    return rows[['age', 'spent']]\n",
        "def features(rows):\n    names = ['spent']\n    return rows[[name for name in names]]\n",
        "def features(rows):\n    other = {'spent': 1}\n    return rows[['age']] * other['spent']\n",
    ],
)
def test_what_is_sound_passes(project, text):
    changed = write(project, text)
    assert static_problems(changed.folder, changed.spec) == ()


def test_a_file_that_is_not_there_says_what_it_should_hold(project):
    (project.folder / "features.py").unlink()
    assert "def features(rows)" in str(static_problems(project.folder, project.spec)[0])


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("\n\nx = 1 / 0\ndef features(rows): ...\n", 3, "raises ZeroDivisionError: division by zero when it is loaded"),
        ("raise SystemExit(3)\ndef features(rows): ...\n", 1, "raises SystemExit: 3"),
        ("import no_such_module\ndef features(rows): ...\n", 1, "No module named 'no_such_module'"),
        ("import helper\ndef features(rows): ...\n", 1, "features.py stands alone"),
        ("features = 3\n", None, "is not a function of the rows"),
    ],
)
def test_a_file_that_fails_to_load_names_the_line(project, text, line, message):
    (project.folder / "helper.py").write_text("")
    before = set(sys.modules)
    with pytest.raises(SpecProblems) as caught:
        load_features(write(project, text))
    [problem] = caught.value.problems
    assert message in problem.message
    assert problem.line == line
    assert not {name for name in set(sys.modules) - before if name.startswith("_updraft_features")}


def test_features_of_real_rows_pass(project, rows):
    frame = run(project, rows, "rows.assign(band=pd.cut(rows['age'], [0, 35, 99], labels=['young', 'old']), day=True)")
    assert list(frame.columns) == ["customer", "age", "visits", "band", "day"]
    assert frame.index.equals(rows.index)


def test_an_empty_partition_passes(project, rows):
    assert len(run(project, rows.iloc[:0], "rows[['age', 'customer']]")) == 0


@pytest.mark.parametrize(
    "expression",
    [
        "pd.array([True, None, False], 'boolean')",
        "[True, None, False]",
        "[Decimal('1'), None, Decimal('0')]",
        "pd.array([1, None, 0], 'Int64')",
        "pd.array([1.0, None, 0.0], 'Float64')",
        "[1, None, 0.0]",
    ],
)
def test_numbers_and_truth_values_with_gaps_are_numbers(project, rows, expression):
    text = f"from decimal import Decimal\nimport pandas as pd\n\ndef features(rows):\n    return rows[['age']].assign(x={expression})\n"
    (project.folder / "features.py").write_text(text)
    made = compute(project, load_features(project), rows)
    assert made["x"].dtype == "float64"
    assert made["x"].fillna(-1).tolist() == [1, -1, 0]


def test_the_rows_are_not_changed(project, rows):
    before = rows.copy()
    run(project, rows, "rows.__setitem__('age', 0) or rows[['age']]")
    pd.testing.assert_frame_equal(rows, before)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("rows['age']", "gave a Series; it must give a DataFrame"),
        ("None", "gave a NoneType"),
        ("rows.iloc[:2]", "gave 2 rows for 3"),
        ("rows.sort_index()", "another index"),
        ("rows[['age']].reset_index(drop=True)", "index=rows.index"),
        ("rows[['age', 'age']]", "'age' twice"),
        ("rows[['age']].rename(columns={'age': 3})", "a column named 3; names are text"),
        ("rows[['age']].rename(columns={'age': '_row'})", "begin with _"),
        ("rows[[]]", "gave no columns"),
        ("rows.assign(x=[1, 'a', None])", "'x' of mixed type"),
        ("rows.assign(x=[[1], [2], [3]])", "'x' of mixed type"),
        ("rows.assign(x=pd.Timestamp('2024-01-01'))", "'x' of type datetime64"),
        ("rows.assign(x=1j)", "'x' of type complex128"),
        ("rows.assign(x=rows['visits'] / 0)", "'x' with 3 infinite values"),
        ("rows.assign(x=pd.Categorical([1, 2, 1]))", "'x' with a category of type int; categories are text"),
    ],
)
def test_a_wrong_answer_is_refused_with_the_file_and_the_column(project, rows, expression, message):
    with pytest.raises(DataError) as caught:
        run(project, rows, expression)
    assert message in str(caught.value)
    assert "features.py: features()" in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("rows.loc[:, ['spent']]", "`spent` is an outcome: it is not known at prediction time"),
        ("(rows).spent", "`spent` is an outcome: it is not known at prediction time"),
        ("rows.loc[:, ['age', 'spent']]", "`spent` is an outcome"),
        ("rows[['agee']]", "the rows have no column"),
        ("rows['agee']", "the rows have no column 'agee'; did you mean `age`?; there are: customer, age, visits"),
        ("1 / 0", "features() raised ZeroDivisionError: division by zero"),
        ("{}['x']", "features() raised KeyError"),
    ],
)
def test_an_error_in_the_function_names_file_line_and_reason(project, rows, expression, message):
    with pytest.raises(DataError) as caught:
        run(project, rows, expression)
    assert message in str(caught.value)
    assert "features.py:5: " in str(caught.value)


@pytest.mark.parametrize(
    "expression",
    [
        "rows['gone']",
        "rows[['age', 'gone']]",
        "rows.loc[:, ['gone', 'age']]",
        "rows[['gone']]",
        "rows.gone",
        "rows.filter(['age']).join(rows[['gone']])",
    ],
)
def test_a_column_of_the_label_is_known_for_what_it_is(make_project, smallest, rows, expression):
    project = load_project(make_project(smallest.replace('"left_us"', '"gone > 0"')))
    with pytest.raises(DataError, match="`gone` is what the label is made of: it is not known at prediction time"):
        run(project, rows, expression)


def test_the_reference_project_computes_its_features():
    project = load_project(ROOT / "include" / "projects" / "flight_delays")
    columns = "carrier origin dest distance hour minute time_hour year planes_year planes_seats".split()  # noqa: SIM905
    weather = [f"weather_{each}" for each in "temp dewp humid wind_dir wind_speed precip pressure visib".split()]  # noqa: SIM905
    rows = pd.DataFrame({name: [1.0, 2.0] for name in (*columns, *weather)})
    rows = rows.assign(carrier="UA", origin="EWR", dest="IAH", time_hour="2013-01-01T10:00:00Z")
    assert compute(project, load_features(project), rows).shape == (2, 16)
