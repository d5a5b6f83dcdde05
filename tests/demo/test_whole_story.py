"""The story holds: every change applies, every check passes, and the order of the landings does not matter."""

from __future__ import annotations

import random
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from orchestration.demo.foundations import RESOLUTIONS
from orchestration.demo.plan import FIRST_PLAN, TASKS
from orchestration.demo.repository import CHECKS
from orchestration.domain.graph import levels
from orchestration.domain.handoffs import Claim, parse_handoff
from tests.demo.playing import Integration, Played, git, ready, shell, work

pytestmark = pytest.mark.long
UNFORESEEN = {name: {"SPEC.md"} for name in RESOLUTIONS}  # outside every scope, so nobody waits for anybody
CHANGES = [name for name, task in TASKS.items() if task.kind == "change"]


class Run:
    """One way through the story: which subtasks run at the same time and in which order they land."""

    def __init__(self, folder: Path, seed: int, *, with_shell: bool) -> None:
        self.integration = Integration(folder)
        self.played: dict[str, Played] = {}
        self.changed: dict[str, list[str]] = {}
        self.most_at_once = 0
        self._random = random.Random(seed)
        self._with_shell = with_shell
        self._running: list[str] = []

    def play(self) -> None:
        while len(self.played) < len(TASKS) or self._running:
            can_start = ready(set(self.played) - set(self._running), self.played)
            if can_start and (not self._running or self._random.random() < 0.7):
                self._start(self._random.choice(can_start))
            else:
                self._finish(self._running.pop(self._random.randrange(len(self._running))))

    def _start(self, name: str) -> None:
        workspace = self.integration.begin(name)
        self.played[name] = work(TASKS[name], workspace, with_shell=self._with_shell)
        self._running.append(name)
        self.most_at_once = max(self.most_at_once, len(self._running))
        if self._with_shell:
            self._accept(name, workspace)

    def _accept(self, name: str, workspace: Path) -> None:
        for check in TASKS[name].acceptance_checks:
            code, output = shell(workspace, check)
            assert code == 0, f"{name}: {check}\n{output}"

    def _finish(self, name: str) -> None:
        self.integration.commit(name)
        self.changed[name] = self.integration.changed(name)
        self.integration.land(name)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Played once with every command really run, then looked at from all sides."""
    run = Run(tmp_path_factory.mktemp("story"), seed=1, with_shell=True)
    run.play()
    return run


def test_the_result_passes_the_repositorys_checks(run: Run):
    for check in CHECKS:
        code, output = shell(run.integration.repository, check)
        assert code == 0, output


def test_the_result_does_what_was_asked_for(run: Run):
    shop = "python3 -m larder shop examples/week.plan --pantry examples/pantry.txt"
    code, listed = shell(run.integration.repository, shop)
    assert code == 0
    assert "  red lentil           750 g\n" in listed
    assert "  apple                500 g\n" in listed
    assert "  cinnamon             ½ tsp\n" in listed
    assert "Everything else" not in listed
    assert "salt" not in listed
    code, told = shell(run.integration.repository, "python3 -m larder scale pancakes 0")
    assert (code, told) == (1, "larder: A recipe is for at least one person, not for 0.\n")


def test_the_repository_did_none_of_it_before(tmp_path: Path):
    """The control: without the story's work the commands do not exist."""
    start = Integration(tmp_path).repository
    assert shell(start, "python3 -m larder shop README.md")[0] == 2
    assert shell(start, "python3 -m larder scale pancakes 0")[0] == 0


def test_each_change_is_a_change_within_its_scope(run: Run):
    for name, task in TASKS.items():
        assert bool(run.changed[name]) == (task.kind == "change"), name
        for path in set(run.changed[name]) - UNFORESEEN.get(name, set()):
            assert any(fnmatch(path, glob) for glob in task.scope), f"{name} changed {path}"


def test_what_may_run_at_once_does_not_touch_the_same_files(run: Run):
    for name in CHANGES:
        for other in CHANGES:
            if name < other and not (_needs(name, other) or _needs(other, name)):
                both = set(run.changed[name]) & set(run.changed[other])
                assert both == UNFORESEEN.get(name, set()) & UNFORESEEN.get(other, set()), f"{name} and {other}"


def test_it_is_wide_and_deep_enough_to_watch(run: Run):
    depth = levels({name: task.dependencies for name, task in TASKS.items()})
    assert max(depth.values()) >= 3
    assert list(depth.values()).count(0) >= 6
    assert 10 <= len(FIRST_PLAN) <= 12
    assert len(CHANGES) >= 8
    assert run.most_at_once >= 4
    assert {task.kind for task in TASKS.values()} == {"change", "research", "verify"}


def test_every_worker_looks_tries_and_reports_in_several_turns(run: Run):
    for name, played in run.played.items():
        tools = [call for answer in played.answers for call, _ in answer.calls]
        assert len(played.answers) >= 4, name
        assert "bash" in tools, name
        assert all(answer.text for answer in played.answers), name
        assert parse_handoff(played.handoff).status is Claim.COMPLETE


def test_one_worker_is_not_believed_and_mends_what_the_checks_found(run: Run):
    assert [name for name, played in run.played.items() if played.refused] == ["ingredient-names"]
    assert set(run.played["ingredient-names"].hands.codes) == {0}


def test_two_workers_conflict_whoever_lands_first_and_it_is_settled_without_loss(run: Run, tmp_path: Path):
    specs = set()
    for number, order in enumerate((("aisle-table", "ingredient-names"), ("ingredient-names", "aisle-table"))):
        integration = Integration(tmp_path / str(number))
        for name in order:
            work(TASKS[name], integration.begin(name), with_shell=False)
        for name in order:
            integration.land(name)
        assert integration.conflicts == {order[1]: ["SPEC.md"]}
        specs.add((integration.repository / "SPEC.md").read_text(encoding="utf-8"))
    (spec,) = specs
    assert "<<<<<<<" not in spec
    assert spec.index("## Aisles") < spec.index("## Names") < spec.index("## Planning a week")


def test_the_kept_shopping_list_is_what_the_command_prints(run: Run):
    command = "python3 -m larder shop examples/week.plan --pantry examples/pantry.txt --format markdown"
    code, listed = shell(run.integration.repository, command)
    assert code == 0
    assert run.played["try-the-week"].hands.artifacts["shopping-list.md"] == listed


def test_what_the_readme_shows_is_what_the_commands_print(run: Run):
    readme = (run.integration.repository / "README.md").read_text(encoding="utf-8")
    for block in readme.split("```")[1::2]:
        for shown in block.split("$ ")[1:]:
            command, _, output = shown.partition("\n")
            expected = output.split("...")[0].strip()
            assert shell(run.integration.repository, command)[1].strip().startswith(expected), command


@pytest.mark.parametrize("seed", range(2, 8))
def test_the_order_of_starts_and_landings_does_not_matter(run: Run, tmp_path: Path, seed: int):
    other = Run(tmp_path, seed, with_shell=False)
    other.play()
    assert other.integration.tree() == run.integration.tree()
    assert len(git(other.integration.repository, "rev-list", "--merges", "HEAD").splitlines()) == len(CHANGES)


def test_an_attempt_that_died_half_way_is_repeated_from_the_start(tmp_path: Path):
    """A retry has a fresh workspace and a fresh conversation, perhaps on a later tip."""
    integration = Integration(tmp_path)
    for name in ("plan-files", "readable-amounts"):
        integration.begin(name)
        work(TASKS[name], tmp_path / name, with_shell=False)
    integration.land("plan-files")
    git(integration.repository, "worktree", "remove", "--force", str(tmp_path / "readable-amounts"))
    again = integration.begin("readable-amounts")
    work(TASKS["readable-amounts"], again, with_shell=False)
    integration.land("readable-amounts")
    assert shell(integration.repository, CHECKS[0])[0] == 0


@cache
def _needs(name: str, other: str) -> bool:
    return any(each == other or _needs(each, other) for each in TASKS[name].dependencies)
