"""An attempt's commands reach nothing of the server's. A control shows that the probe finds it all outside."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.stories.rig import ROOT, handoff, plan, task, team

pytestmark = pytest.mark.sandbox

SECRET = "planted-secret-of-the-server"

PROBE = Path(__file__).with_name("probe.py")


def sleepers() -> list[str]:
    """Processes that the probe left behind."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"987654" in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


def test_a_commands_reach_ends_at_its_workspace(install, repository, listener, tmp_path):
    beside = tmp_path / "beside"
    beside.mkdir()
    arguments = [str(listener), str(tmp_path / "data"), str(beside), str(ROOT), SECRET]
    probe = f"cat > probe.py <<'END'\n{PROBE.read_text()}\nEND\npython3 probe.py {' '.join(arguments)}; rm probe.py"

    def work(name):
        return [("write_file", {"path": f"{name}.txt", "content": "x\n"}), ("bash", {"command": probe}), handoff()]

    installation = install(team([plan(task("left"), task("right"))], work))
    installation.more = {"PLANTED": SECRET}

    done = installation.run(repository, "--wait")

    assert done.code == 0, done.err
    reports = [one.last_text for one in installation.service.requests if "PROBE " in one.last_text]
    assert len(reports) == 2
    for report in reports:
        found = json.loads(report.split("PROBE ", 1)[1].splitlines()[0])
        assert not any(found.values()), found
    assert sleepers() == []
    assert not (beside / "escaped").exists()
    assert "probe.py" not in (done.err + str(done.last))

    # The control: where the server lives, the same probe finds every one of them.
    outside = subprocess.run(
        ["python3", str(PROBE), *arguments],
        env=installation.environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        timeout=60,
    )
    try:
        found = json.loads(outside.stdout.split("PROBE ", 1)[1])
        assert all(found.values()), found
        assert len(sleepers()) == 1
    finally:
        for pid in sleepers():
            subprocess.run(["kill", "-9", pid], check=False)
