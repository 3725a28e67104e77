"""A configuration that is taken up while exchanges run: none is dropped, what did not change stays."""

import json
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.test_workers import BEGUN, STREAMS, Stream, held, pids
from tests.support.bridge import Bridge
from tests.support.processes import run
from tests.support.raw import (
    COMPLETION,
    STREAM,
    RawUpstream,
    Talk,
    answer_plainly,
    ask,
    raw_upstream,
    send,
    whole,
)
from tests.support.waiting import eventually

TOOLS = {"command": sys.executable, "args": ["-m", "aibridge.demo.tools"]}


def upstream_of(upstream: RawUpstream, **more: Any) -> dict[str, Any]:
    """The section for one upstream."""
    return {"upstreams": {"up": {"base_url": upstream.base_url, "api_key": "sk-very-secret", **more}}}


def rewrite(bridge: Bridge, /, **sections: Any) -> None:
    """Other sections in the file; those of `server` are added."""
    settings = yaml.safe_load(bridge.file.read_text())
    server = {**settings["server"], **sections.pop("server", {})}
    bridge.file.write_text(yaml.safe_dump({**settings, **sections, "server": server}))


def reload(bridge: Bridge) -> Any:
    """The answer to `POST /api/reload`."""
    return send(bridge.port, method="POST", path="/api/reload")


def audit(bridge: Bridge) -> Any:
    """The rows of the audit, the newest first."""
    return send(bridge.port, method="GET", path="/api/audit").json


@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_takes_up_the_file_and_cuts_no_stream(workers: int, tmp_path: Path) -> None:
    with held() as (gate, old), raw_upstream(answer_plainly) as new, ExitStack() as stack:
        config = {**upstream_of(old), "server": {"workers": workers}}
        bridge = stack.enter_context(Bridge(tmp_path, config))
        streams = [Stream(bridge.port, stack) for _ in range(STREAMS)]
        rewrite(bridge, **upstream_of(new))
        os.kill(bridge.program.pid, signal.SIGHUP)
        eventually(lambda: bridge.log.count("configuration was taken up") == workers, 20, "the reload")
        assert [ask(bridge.port).status for _ in range(4)] == [200] * 4
        assert (len(old.heard), len(new.heard)) == (STREAMS, 4)
        bridge.file.write_text("upstreams: {}")
        os.kill(bridge.program.pid, signal.SIGHUP)
        eventually(lambda: "was not taken up" in bridge.log, 20, "the refusal")
        assert ask(bridge.port).status == 200
        [row] = eventually(lambda: audit(bridge), what="the audit")
        assert (row["actor"], row["action"], row["subject"]) == ("signal", "config.reload", "configuration")
        assert row["detail"] == {"changed": ["upstreams.up"], "needs_restart": []}, "and none of the refusal"
        gate.open()
        assert [stream.rest() for stream in streams] == [STREAM[BEGUN:]] * STREAMS
        assert bridge.stop() == 0
        assert "Traceback" not in bridge.log and "needs at least one entry" in bridge.log
        assert {row["status"] for row in bridge.rows("exchanges")} == {"completed"}


def test_the_api_reloads_all_workers_and_says_what_waits_for_a_restart(tmp_path: Path) -> None:
    with raw_upstream(answer_plainly) as old, raw_upstream(answer_plainly) as new, ExitStack() as stack:
        config = {**upstream_of(old), "server": {"workers": 2}}
        bridge = stack.enter_context(Bridge(tmp_path, config))
        before = pids(bridge)
        rewrite(bridge, **upstream_of(new), records={"prompts": False}, server={"workers": 3})
        told = reload(bridge)
        assert told.status == 200, told.body
        assert told.json == {
            "needs_restart": ["server.workers", "records.prompts"],
            "workers": 2,
            "failed": [],
        }
        [row] = audit(bridge)
        assert (row["actor"], row["action"]) == ("this machine", "config.reload")
        assert row["detail"] == {"changed": ["upstreams.up"], **told.json}, "names, no values"
        assert [ask(bridge.port).status for _ in range(12)] == [200] * 12
        assert (len(old.heard), len(new.heard)) == (0, 12)
        os.kill(before[1], signal.SIGKILL)
        eventually(lambda: pids(bridge)[1] != before[1], 30, "a new worker")
        assert [ask(bridge.port).status for _ in range(12)] == [200] * 12
        assert (len(old.heard), len(new.heard)) == (0, 24), "its successor knows the new file"


def test_a_wrong_file_changes_nothing_and_the_api_says_why(tmp_path: Path) -> None:
    with raw_upstream(answer_plainly) as upstream, Bridge(tmp_path, upstream_of(upstream)) as bridge:
        good = bridge.file.read_text()
        for text, says in (
            ("upstreams: {up: {base_url: nonsense}}", "write a whole URL"),
            (good + "\nbridges: {}\n", "did you mean `bridge`"),
            ("a: [", "this is not YAML"),
        ):
            bridge.file.write_text(text)
            got = reload(bridge)
            assert got.status == 400 and says in got.error["message"], got.body
            assert ask(bridge.port).status == 200
        shown = send(bridge.port, method="GET", path="/api/config")
        assert shown.json["upstreams"]["up"]["base_url"] == upstream.base_url
        assert "sk-very-secret" not in shown.body.decode()
        far = send(bridge.port, method="POST", path="/api/reload", headers=[("x-forwarded-for", "10.0.0.1")])
        assert far.status == 403
        bridge.file.write_text(good.replace("sk-very-secret", "sk-another-one"))
        assert reload(bridge).json == {"needs_restart": [], "workers": 1, "failed": []}
        assert ask(bridge.port).status == 200
        assert "Bearer sk-another-one" in str(upstream.heard[-1])
        [row] = audit(bridge)
        assert row["detail"]["changed"] == ["upstreams.up"] and "sk-another-one" not in str(row)


def test_servers_that_did_not_change_stay_connected(tmp_path: Path) -> None:
    config = {"mcp_servers": {"stays": TOOLS, "changes": TOOLS, "goes": TOOLS}}
    with raw_upstream(answer_plainly) as upstream, ExitStack() as stack:
        bridge = stack.enter_context(Bridge(tmp_path, {**upstream_of(upstream), **config}))
        before = _children(bridge)
        changed = {**TOOLS, "env": {"TZ": "UTC"}}
        rewrite(bridge, mcp_servers={"stays": TOOLS, "changes": changed, "comes": TOOLS})
        assert reload(bridge).status == 200

        def connected() -> bool:
            states = bridge.readiness()["mcp_servers"]
            return set(states) == {"stays", "changes", "comes"} and all(
                state["state"] == "connected" for state in states.values()
            )

        eventually(connected, 30, "the new connections")
        eventually(lambda: len(before & _children(bridge)) == 1, 20, "the end of what left")
        assert len(_children(bridge)) == 3
        assert bridge.readiness()["mcp_servers"]["stays"]["restarts"] == 0
        assert bridge.stop() == 0
        assert "Traceback" not in bridge.log


def test_what_waits_for_a_restart_waits_in_later_workers_too(tmp_path: Path) -> None:
    with raw_upstream(answer_plainly) as upstream, ExitStack() as stack:
        config = {**upstream_of(upstream), "server": {"workers": 2}}
        bridge = stack.enter_context(Bridge(tmp_path, config))
        before = pids(bridge)
        rewrite(bridge, access={"keys": "required"}, records={"url": "sqlite:///other.db"})
        os.kill(bridge.program.pid, signal.SIGHUP)
        eventually(lambda: bridge.log.count("configuration was taken up") == 2, 20, "the reload")
        os.kill(before[1], signal.SIGKILL)
        eventually(lambda: pids(bridge)[1] != before[1], 30, "a new worker")
        assert [ask(bridge.port).status for _ in range(12)] == [200] * 12
        assert not (tmp_path / "other.db").exists()


def test_hidden_turns_that_only_the_process_has_outlive_a_reload(tmp_path: Path) -> None:
    config = {"mcp_servers": {"demo": TOOLS}, "bridge": {"recall": "memory"}}
    with raw_upstream(_add_first) as upstream, ExitStack() as stack:
        bridge = stack.enter_context(Bridge(tmp_path, {**upstream_of(upstream), **config}))
        question = {"role": "user", "content": "2 and 3?"}
        said = ask(bridge.port, messages=[question]).json["choices"][0]["message"]
        rewrite(bridge, bridge={"recall": "memory", "max_rounds": 7})
        assert reload(bridge).status == 200
        ask(bridge.port, messages=[question, said, {"role": "user", "content": "sure?"}])
        roles = [message["role"] for message in upstream.heard[-1].json["messages"]]
        assert roles == ["user", "assistant", "tool", "assistant", "user"]


def _add_first(talk: Talk) -> None:
    """A hidden call, then Hello."""
    if talk.number:
        talk.send(whole(COMPLETION))
        return
    names = [tool["function"]["name"] for tool in talk.heard.json["tools"]]
    [name] = [each for each in names if each.endswith("add")]
    function = {"name": name, "arguments": json.dumps({"a": 2, "b": 3})}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call-1", "type": "function", "function": function}],
    }
    completion = json.loads(COMPLETION)
    completion["choices"] = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    talk.send(whole(json.dumps(completion).encode()))


def _children(bridge: Bridge) -> set[str]:
    """The processes that the bridge started."""
    ran = run(("ps", "-o", "pid=", "--ppid", str(bridge.program.pid)), bridge.folder, dict(os.environ))
    return set(ran.stdout.split())
