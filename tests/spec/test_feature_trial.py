"""A feature function is tried aside: what is wrong with it is told with file and column, and no value of a row."""

from __future__ import annotations

import pandas as pd
import pytest
from tests.support.made_project import MadeProject

from updraft.spec.feature_trial import complaints, try_features

SECRET = "anna-4711"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return MadeProject(tmp_path_factory.mktemp("trial"), 1)


@pytest.fixture(scope="module")
def rows(made):
    count = 40
    frame = pd.DataFrame(
        {
            "id": range(count),
            "at": pd.date_range("2024-01-01", periods=count, freq="30min", tz="UTC"),
            "shop": [SECRET if n % 2 else "b" for n in range(count)],
            "amount": [float((n * 7) % 11) for n in range(count)],
        }
    )
    path = made.root / "rows.parquet"
    frame.to_parquet(path)
    return path


@pytest.fixture
def tried(made, rows):
    def run(body, *, seconds=60):
        (made.folder / "features.py").write_text(f"import pandas as pd\n\n\ndef features(rows):\n    {body}\n")
        return try_features(made.folder, rows, seconds=seconds)

    return run


@pytest.fixture
def tried_here(made, rows):
    """In this process: for functions that are no harm to it. The start of another one is most of what a trial takes."""

    def run(body):
        (made.folder / "features.py").write_text(f"import pandas as pd\n\n\ndef features(rows):\n    {body}\n")
        return tuple(complaints(made.folder, rows))

    return run


@pytest.mark.parametrize(
    "body",
    [
        "return rows[['amount', 'shop']]",
        "return pd.DataFrame({'amount': rows['amount'].to_numpy()})",
        "return rows[['amount']].assign(before=rows['amount'].shift(1), so_far=rows['amount'].cumsum())",
    ],
)
def test_a_sound_function_has_no_complaint(tried_here, body):
    assert tried_here(body) == ()


def test_what_a_sound_function_prints_is_no_complaint(tried):
    assert tried("print(rows.to_string()); return rows[['amount']]") == ()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return rows[['amuont']]", "features.py:5: the rows have no column 'amuont'; did you mean `amount`?"),
        ("return rows[['amount', 'late']]", "features.py:5: `late` is an outcome"),
        ("wanted = ['amount', 'late']\n    return rows[wanted]", "features.py:6: `late` is an outcome"),
        ("return pd.DataFrame({'x': rows.late})", "features.py:5: `late` is an outcome"),
        ("return rows[['at', 'amount']]", "gave column 'at' of type datetime64"),
        ("return rows.assign(x=[[1]] * len(rows))[['x']]", "gave column 'x' of mixed type"),
        ("return rows[['amount']].head(3)", "3 rows for 40"),
        ("return rows[['amount']].sort_values('amount')", "another index"),
        ("return rows.sort_values('amount')[['amount']].reset_index(drop=True)", "column 'amount' comes out the same"),
        ("return rows.sort_values(['amount', 'id'])[['id']].reset_index(drop=True)", "column 'id' comes out the same"),
        ("return None", "gave a NoneType"),
    ],
)
def test_what_is_wrong_is_told_with_the_file(tried_here, body, says):
    [complaint] = tried_here(body)
    assert says in complaint
    assert "features.py" in complaint


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return rows[['amuont']]", "features.py:5: the rows have no column 'amuont'"),
        ("import os; os._exit(3)", "ended the process with code 3"),
        ("import os, signal; os.abort()", "was ended by SIGABRT"),
        ("import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')", "raised"),
        ("open('/tmp/never-written', 'w')", "raised PermissionError"),
        ("import subprocess; subprocess.run(['true'])", "raised PermissionError"),
        ("import os; os.environ['HOME_OF_SECRETS']", "raised KeyError"),
    ],
)
def test_what_a_function_must_not_do_is_told_with_the_file(tried, body, says):
    [complaint] = tried(body)
    assert says in complaint
    assert "features.py" in complaint


@pytest.mark.parametrize(
    "body",
    [
        "return rows[['shop']].astype(float)",
        "return rows.assign(x=rows['shop'].map(lambda shop: {'b': 1}[shop]))[['x']]",
        "raise ValueError(rows.to_string())",
        "return rows.assign(x=pd.Categorical(rows['at'].astype(str).tolist()[:-1] + [rows['shop'].iloc[1]]))[['shop', 'x']].head(1)",
    ],
)
def test_no_complaint_holds_a_value_of_a_row(tried, body, capfd):
    [complaint] = tried(body)
    assert SECRET not in complaint
    assert SECRET not in "".join(capfd.readouterr())


def test_a_function_that_does_not_end_is_ended(tried):
    [complaint] = tried("while True: pass", seconds=8)
    assert "did not end within 8 s" in complaint


def test_it_sees_nothing_of_this_process(tried, monkeypatch):
    monkeypatch.setenv("A_SECRET", SECRET)
    assert (
        tried("import os; assert 'A_SECRET' not in os.environ and not os.listdir('.'); return rows[['amount']]") == ()
    )


def test_without_rows_the_file_is_loaded_all_the_same(made):
    (made.folder / "features.py").write_text("import no_such_library\n\n\ndef features(rows):\n    return rows\n")
    [complaint] = try_features(made.folder, None)
    assert "features.py:1: raises ModuleNotFoundError" in complaint


@pytest.mark.parametrize("call", ["sys.exit()", "os._exit(0)", "sys.exit(3)"])
def test_a_function_that_ends_the_process_is_told_so(tried, call):
    [complaint] = tried(f"import os, sys; {call}")
    assert "ended the process with code" in complaint
