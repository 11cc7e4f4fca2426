"""The tests' own PostgreSQL."""

from __future__ import annotations

import sqlalchemy as sa
from tests.support.postgres import Postgres


def test_each_test_gets_an_empty_database_of_a_real_server(postgres_url: str) -> None:
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        assert connection.execute(sa.text("SHOW server_version_num")).scalar_one() >= "140000"
        assert sa.inspect(connection).get_table_names() == []
        connection.execute(sa.text("CREATE TABLE left_behind (id int)"))
    # no dispose: a connection that a test forgets must not keep its database from being dropped


def test_a_second_database_stands_beside_the_first(postgres_server: Postgres, postgres_url: str) -> None:
    other = postgres_server.new_database()
    try:
        assert other != postgres_url
    finally:
        postgres_server.drop_database(other)
