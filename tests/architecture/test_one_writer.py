"""A status changes in stages/transition.py and nowhere else.

Allowed besides: making a row with the status in which its life begins. Rows that the table of lives does
not know (a handoff's `status` is the agent's own word) are no concern of it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from orchestration.domain.states import INITIAL
from tests.architecture import tree

WRITER = "orchestration/stages/transition.py"
ROWS = frozenset({"Swarm", "Subtask", "Attempt", "MergeEntry", "PlanIteration"})
BEGINNINGS = frozenset(f"{type(status).__name__}.{status.name}" for status in INITIAL.values())
MAKERS = frozenset({"create", "get_or_create", "update_or_create"})
# Layers that cannot reach a row have objects of their own with a status, such as an HTTP response. A bench sets
# the scene of a swarm that never ran, in a database that is thrown away.
BLIND = (
    "orchestration/domain/",
    "orchestration/adapters/",
    "orchestration/demo/service.py",
    "orchestration/management/bench/",
)


def writes(source: str) -> list[str]:
    return [f"line {node.lineno}: {ast.unparse(node)}" for node in _writes(tree.parsed(source))]


def _writes(module: ast.Module) -> Iterator[ast.stmt | ast.expr]:
    for node in ast.walk(module):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(_is_status(part) for target in targets for part in ast.walk(target)):
                yield node
        elif isinstance(node, ast.Call) and _call_writes(node):
            yield node


def _is_status(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "status"


def _call_writes(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    if last == "setattr":
        return _says_status(call.args[1:2])
    if last in {"bulk_update", "save", "asave"}:
        return _says_status([*call.args, *(k.value for k in call.keywords if k.arg in {"fields", "update_fields"})])
    if last in {"update", "aupdate"}:
        return "." in name and any(keyword.arg == "status" for keyword in call.keywords)
    parts = set(name.split("."))
    makes = last in ROWS or (last.removeprefix("a") in MAKERS and "Handoff" not in parts)
    return makes and any(_sets_status(keyword) for keyword in call.keywords)


def _sets_status(keyword: ast.keyword) -> bool:
    if keyword.arg == "status":
        return ast.unparse(keyword.value).removesuffix(".value") not in BEGINNINGS
    return keyword.arg in {"defaults", "create_defaults"} and _says_status([keyword.value])


def _says_status(nodes: list[ast.expr]) -> bool:
    return any(isinstance(n, ast.Constant) and n.value == "status" for node in nodes for n in ast.walk(node))


def test_nothing_else_writes_a_status():
    guilty = {
        name: found
        for name, source in tree.product().items()
        if name != WRITER and not name.startswith(BLIND) and (found := writes(source))
    }
    assert not guilty


def test_the_writer_itself_is_seen_to_write():
    """The control: the same check finds the one place that may."""
    assert "setattr(row, name, value)" in tree.product()[WRITER]
    assert ".update(" in tree.product()[WRITER]


@pytest.mark.parametrize(
    "planted",
    [
        "swarm.status = 'failed'",
        "swarm.title, swarm.status = 'a', 'b'",
        "self.row.status += 'x'",
        "row.status: str = 'failed'",
        "Swarm.objects.filter(pk=1).update(status='failed')",
        "swarm.subtasks.all().update(title='x', status=SubtaskStatus.FAILED)",
        "Subtask.objects.bulk_update(rows, ['status'])",
        "Attempt.objects.bulk_update(rows, fields=['doing', 'status'])",
        "swarm.save(update_fields=['status'])",
        "setattr(swarm, 'status', 'failed')",
        "Attempt.objects.create(subtask=s, status=AttemptStatus.COMPLETE)",
        "Attempt(subtask=s, status='complete')",
        "subtask.attempts.create(number=1, status=AttemptStatus.COMPLETE)",
        "models.MergeEntry(status=EntryStatus.LANDED)",
        "Swarm.objects.update_or_create(pk=1, defaults={'status': 'failed'})",
    ],
)
def test_a_planted_write_is_found(planted: str):
    assert writes(planted)


@pytest.mark.parametrize(
    "innocent",
    [
        "if swarm.status == 'failed': pass",
        "Swarm.objects.filter(status='failed')",
        "Swarm.objects.filter(pk=1).update(title='x')",
        "Attempt.objects.create(subtask=s, status=AttemptStatus.ASSIGNED)",
        "PlanIteration(swarm=s, status=IterationStatus.RUNNING.value)",
        "Handoff.objects.create(attempt=a, status=report.status)",
        "swarm.status_reason = 'because'",
        "status = swarm.status",
        "swarm.save(update_fields=['title'])",
    ],
)
def test_reading_beginning_and_other_rows_are_no_write(innocent: str):
    assert not writes(innocent)
