"""Ports: the usual ones when free, the remembered ones again, never one that is taken or promised."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from updraft.errors import StackError
from updraft.stack import ports


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    return tmp_path / "locks"


def test_usual_ports_are_taken_when_they_are_free(tmp_path: Path, locks: Path) -> None:
    found = ports.reserve(tmp_path / "ports.json", free=lambda port: True, locks=locks)
    found.release()
    assert found.ports == {"postgres": 5432, "mlflow": 5000, "airflow": 8080}


def test_the_next_port_is_taken_when_the_usual_one_is_not_free(tmp_path: Path, locks: Path) -> None:
    found = ports.reserve(tmp_path / "ports.json", free=lambda port: port not in (8080, 8081), locks=locks)
    found.release()
    assert found.ports["airflow"] == 8082


def test_ports_stay_the_same_over_a_restart(tmp_path: Path, locks: Path) -> None:
    file = tmp_path / "ports.json"
    ports.reserve(file, free=lambda port: port > 9000, locks=locks).release()
    before = json.loads(file.read_text())
    again = ports.reserve(file, free=lambda port: True, locks=locks)
    again.release()
    assert again.ports == before


def test_a_remembered_port_that_was_taken_meanwhile_is_replaced(tmp_path: Path, locks: Path) -> None:
    file = tmp_path / "ports.json"
    file.write_text('{"postgres": 5432, "mlflow": 5000, "airflow": 9999}')
    found = ports.reserve(file, free=lambda port: port != 9999, locks=locks)
    found.release()
    assert found.ports["airflow"] == 8080


def test_two_stacks_never_share_a_port(tmp_path: Path, locks: Path) -> None:
    one = ports.reserve(tmp_path / "one.json", free=lambda port: True, locks=locks)
    two = ports.reserve(tmp_path / "two.json", free=lambda port: True, locks=locks)
    assert not set(one.ports.values()) & set(two.ports.values())
    one.release()
    two.release()


def test_a_port_is_promised_as_long_as_an_heir_of_the_lock_lives(tmp_path: Path, locks: Path) -> None:
    one = ports.reserve(tmp_path / "one.json", free=lambda port: True, locks=locks)
    heir = [os.dup(descriptor) for descriptor in one.descriptors]  # what a child process holds
    one.release()
    two = ports.reserve(tmp_path / "two.json", free=lambda port: True, locks=locks)
    two.release()
    for descriptor in heir:
        os.close(descriptor)
    assert two.ports["airflow"] == 8081


def test_a_broken_memory_of_ports_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text("[1, 2")
    assert ports.remembered(tmp_path / "ports.json") == {}


def test_a_machine_without_free_ports_is_an_error_that_names_the_service(tmp_path: Path, locks: Path) -> None:
    with pytest.raises(StackError, match=r"no free port on 127\.0\.0\.1 for postgres"):
        ports.reserve(tmp_path / "ports.json", free=lambda port: False, locks=locks)


def test_a_listening_port_is_not_free() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert not ports.is_free(server.getsockname()[1])
