"""What cannot be started here is at least whole: the image has what the code reads, the services fit together."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml
from django.conf import settings

from tests.architecture import tree

COMPOSE: dict[str, Any] = yaml.safe_load((tree.ROOT / "deploy" / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "swarmsite"}
DOCKERFILE = (tree.ROOT / "Dockerfile").read_text()


def queues_of(command: str) -> set[str]:
    found = re.search(r"--queues (\S+)", command)
    return set(found[1].split(",")) if found else set()


def test_every_queue_has_a_worker_and_every_worker_a_queue():
    served = set().union(*(queues_of(service.get("command", "")) for service in OURS.values()))
    routed = {route["queue"] for route in settings.CELERY_TASK_ROUTES.values()} | {settings.CELERY_TASK_DEFAULT_QUEUE}
    assert served == routed


def test_merges_have_a_worker_of_their_own():
    """One worker for all queues lets many attempts starve the merges."""
    assert {name for name, service in OURS.items() if "merge" in queues_of(service.get("command", ""))} == {"merge"}
    assert queues_of(SERVICES["merge"]["command"]) == {"merge"}


def test_one_beat_and_nothing_of_ours_before_the_migrations():
    assert [name for name, service in OURS.items() if " beat " in service.get("command", "")] == ["beat"]
    waiting = {name for name, service in OURS.items() if "migrate" in service["depends_on"]}
    assert waiting == set(OURS) - {"migrate"}


def test_every_process_shares_the_data_and_the_settings():
    for service in OURS.values():
        assert service["volumes"] == ["data:/data"]
        assert service["environment"] == OURS["web"]["environment"]


def test_what_a_service_names_exists():
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= set(SERVICES), name
        assert {volume.split(":")[0] for volume in service.get("volumes", [])} <= set(COMPOSE["volumes"]), name


def test_only_what_runs_commands_of_agents_has_the_walls_lowered():
    assert {name for name, service in SERVICES.items() if "security_opt" in service} == {"execute", "check"}
    assert not [name for name, service in SERVICES.items() if service.get("privileged")]


def test_nothing_listens_beyond_this_machine_and_no_password_is_written_down():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:8000:8000"]
    assert "${POSTGRES_PASSWORD:?" in SERVICES["database"]["environment"]["POSTGRES_PASSWORD"]


@pytest.mark.parametrize("folder", ["orchestration", "prompts", "static", "swarmsite", "templates", "manage.py"])
def test_the_image_has_what_the_code_reads(folder: str):
    assert re.search(rf"^COPY (?:.* )?{re.escape(folder)} ", DOCKERFILE, re.MULTILINE)


def test_the_image_runs_as_nobody_in_particular_with_pinned_packages():
    assert re.search(r"^USER (?!root)\w+$", DOCKERFILE, re.MULTILINE)
    assert "--require-hashes" in DOCKERFILE
    assert DOCKERFILE.index("USER swarm") < DOCKERFILE.index("CMD ")


@pytest.mark.parametrize("script", [".ci/run", "deploy/setup.sh"])
def test_a_script_is_read_by_its_shell_without_a_complaint(script: str):
    shell = (tree.ROOT / script).read_text().splitlines()[0].rpartition("/")[2].split()[-1]
    done = subprocess.run([shell, "-n", script], cwd=tree.ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_make_alone_names_every_target():
    targets = set(re.findall(r"^([a-z]+):", (tree.ROOT / "Makefile").read_text(), re.MULTILINE)) - {"help"}
    done = subprocess.run(["make"], cwd=tree.ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  make (\w+)", done.stdout, re.MULTILINE)) == targets
    assert targets == {"setup", "run", "test", "lint", "bench"}
