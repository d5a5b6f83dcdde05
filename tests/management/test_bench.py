"""`manage.py bench`: real processes on small workloads, for what they do and never for how fast."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestration.domain.errors import SwarmsiteError
from orchestration.management.bench import start
from orchestration.management.bench.isolated import environment

pytestmark = pytest.mark.long
ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 600  # bounds a broken machine; pytest's own limit is shorter but where a test says so


def bench(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Whatever it leaves behind is left in `home`."""
    scratch = home / "tmp"
    scratch.mkdir(exist_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "manage.py", "bench", *arguments],
        cwd=ROOT,
        env=kept | {"SWARM_DATA_DIR": str(home / "data"), "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )


def test_an_unknown_name_is_answered_with_those_there_are(tmp_path: Path):
    done = bench(tmp_path, "sheduel")
    assert done.returncode == 2
    assert "There is no benchmark 'sheduel'; there are: " in done.stderr
    assert "schedule" in done.stderr


@pytest.mark.sandbox
def test_schedule_runs_a_whole_swarm_and_measures_it(tmp_path: Path):
    done = bench(tmp_path, "schedule", "--subtasks", "4", "--layers", "2", "--agents", "2", "--pace", "0")
    assert done.returncode == 0, done.stderr
    said, _, last = done.stdout.rstrip().rpartition("\n")
    assert said.startswith("schedule: ")
    figures = json.loads(last)
    assert figures["steps"] == 4 * 8 + 1
    assert figures["makespan_s"] > figures["lower_bound_s"] == 0
    assert figures["ratio"] is None
    assert 1 <= figures["agents_at_once"] <= 2
    assert set(figures["handoff_to_next_request_ms"]) == {"p50", "p95"}
    assert {"cpu_ms_per_step", "children_ms_per_step", "rss_mb_per_agent"} <= set(figures)


@pytest.mark.sandbox
def test_nothing_is_left_behind_and_the_installation_is_not_touched(tmp_path: Path):
    done = bench(tmp_path, "schedule", "--json", "--subtasks", "1", "--layers", "1", "--pace", "0")
    assert done.returncode == 0, done.stderr
    assert next(iter(json.loads(done.stdout))) == "bench"
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not list((tmp_path / "data").rglob("*.sqlite3"))


def test_gate_counts_the_gates_that_the_queue_needs(tmp_path: Path):
    done = bench(tmp_path, "gate", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert set(figures) == {"bench", "gate_runs_per_landing", "makespan_in_gates", "innocents_evicted"}
    assert figures["gate_runs_per_landing"]["1"] <= 0.5
    assert figures["gate_runs_per_landing"]["4"] <= 0.9
    assert figures["innocents_evicted"] == {"1": 0, "4": 0}


def test_a_benchmark_that_fails_says_so_and_leaves_nothing(tmp_path: Path):
    done = bench(tmp_path, "schedule", "--subtasks", "0")
    assert done.returncode != 0
    assert "failed" in done.stderr
    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_operators_settings_do_not_reach_a_benchmark():
    given = {
        "PATH": "/bin",
        "DATABASE_URL": "postgres://real",
        "REDIS_URL": "redis://real",
        "SWARM_MAX_AGENTS": "3",
        "SWARM_SANDBOX": "none",
        "OPENAI_BASE_URL": "https://real",
    }
    made = environment("/somewhere", given)
    assert (made["SWARM_DATA_DIR"], made["PATH"], made["SWARM_SANDBOX"]) == ("/somewhere", "/bin", "none")
    assert not {"DATABASE_URL", "REDIS_URL", "OPENAI_BASE_URL"} & set(made)
    assert made["SWARM_MAX_AGENTS"] == "1000"


@pytest.mark.sandbox
def test_start_measures_a_site_that_answers_and_ends_it(tmp_path: Path):
    done = bench(tmp_path, "start", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["seconds_to_first_page"] > 0
    assert figures["rss_mb"] > 10
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_site_that_does_not_start_is_told():
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(SwarmsiteError, match="did not answer"):
        start._await_page("http://127.0.0.1:9/", process, time.monotonic() + LONGEST_S)


def test_merge_measures_the_queue_beside_plumbing_and_whether_it_becomes_slower(tmp_path: Path):
    done = bench(tmp_path, "merge", "--landings", "30", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["ratio"] == pytest.approx(figures["ms_per_landing"] / figures["plumbing_ms"], rel=0.05)
    assert figures["landed_per_s"] == pytest.approx(1000 / figures["ms_per_landing"], rel=0.05)
    assert figures["landings"] == 30
    assert figures["p95_ratio"] == pytest.approx(figures["p95_ms_last_100"] / figures["p95_ms_first_100"], rel=0.05)


def test_merge_conflicts_measures_what_a_conflict_costs(tmp_path: Path):
    done = bench(tmp_path, "merge-conflicts", "--json")
    assert done.returncode == 0, done.stderr
    assert {"landed_per_s", "ms_of_queue_per_conflict"} <= set(json.loads(done.stdout))
