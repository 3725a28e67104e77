"""The harness keeps its own promises: it waits, it tells, and it leaves nothing behind."""

import os
import signal
import socket
import sys
import threading
from pathlib import Path

import httpx2
import pytest

from aibridge.demo.model import create_model
from tests.support.environment import clean_env, free_port, needs
from tests.support.processes import Program, run, running
from tests.support.serving import serving
from tests.support.waiting import answers, eventually


def _model_command(port: int) -> tuple[str, ...]:
    return (sys.executable, "-m", "aibridge.demo.model", "--port", str(port))


def test_eventually_gives_the_first_true_value() -> None:
    values = iter([0, None, 7])
    assert eventually(lambda: next(values)) == 7


def test_eventually_says_what_did_not_happen() -> None:
    with pytest.raises(AssertionError, match="the moon did not come true within 0 s"):
        eventually(lambda: False, 0, "the moon")


def test_a_served_application_leaves_no_thread_and_no_socket() -> None:
    before = set(threading.enumerate())
    with serving(create_model()) as served:
        assert httpx2.get(f"{served.base_url}/models").status_code == 200
    assert set(threading.enumerate()) == before
    assert not answers(f"{served.base_url}/models")
    with socket.create_server(("127.0.0.1", served.port)):
        pass


def test_a_program_runs_until_the_block_ends(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1/models"
    with running(_model_command(port), tmp_path, clean_env(tmp_path / "home"), url) as program:
        assert answers(url)
    assert program.status == -signal.SIGTERM  # uvicorn stops in good order and then lets the signal act
    assert not answers(url)


def test_a_program_can_be_killed(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1/models"
    with running(_model_command(port), tmp_path, clean_env(tmp_path / "home"), url) as program:
        program.kill()
    assert program.status == -signal.SIGKILL


def test_a_program_that_ends_too_soon_shows_its_log(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "raise SystemExit('no configuration')")
    program = Program(command, tmp_path, clean_env(tmp_path / "home"), "short")
    with pytest.raises(AssertionError, match="short ended with status 1:\nno configuration"):
        program.wait_for(f"http://127.0.0.1:{free_port()}/")
    program.stop()


def test_a_run_is_cut_short_with_all_its_children(tmp_path: Path) -> None:
    command = ("sh", "-c", "echo begun; sleep 60 & wait")
    with pytest.raises(AssertionError, match=r"sh took over 0.5 s:\nbegun"):
        run(command, tmp_path, clean_env(tmp_path / "home"), seconds=0.5)


def test_a_clean_environment_has_nothing_of_the_testers(tmp_path: Path) -> None:
    ended = run(("env",), tmp_path, clean_env(tmp_path / "home", EXTRA="1"))
    names = {line.partition("=")[0] for line in ended.stdout.splitlines()}
    assert names - {"PWD", "SHLVL", "_"} == {"PATH", "HOME", "LANG", "EXTRA"}
    assert (tmp_path / "home").is_dir()


def test_what_is_needed_is_skipped_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    assert needs("sh", "install a shell").name == "sh"
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-thing is missing: buy one"):
        needs("no-such-thing", "buy one")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-thing is missing: buy one"):
        needs(Path("no-such-thing"), "buy one")
    assert os.environ["CI"]
