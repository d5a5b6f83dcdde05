"""The plan's drawing: no box overlaps another, no edge runs through a box, nothing leaves the picture."""

from __future__ import annotations

from graphlib import CycleError
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.web.diagrams import (
    CHARACTER,
    FOLD_ABOVE,
    MARGIN,
    TEXT_END,
    TEXT_INDENT,
    Box,
    Graph,
    Line,
    Node,
    clip,
    fold,
    layout,
    place,
)

Plan = tuple[list[Node], dict[str, list[str]]]


def node(key: str, role: str = "queued", title: str = "") -> Node:
    return Node(key, title or f"subtask-{key}", role, "Pending")


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Acyclic by construction: a node needs only nodes that came before it."""
    count = draw(st.integers(1, 25))
    keys = [f"n{index}" for index in range(count)]
    needs = {
        key: draw(st.lists(st.sampled_from(keys[:index]), unique=True, max_size=4)) if index else []
        for index, key in enumerate(keys)
    }
    order = draw(st.permutations(keys))
    titles = draw(st.lists(st.text("abc-", min_size=1, max_size=50), min_size=count, max_size=count))
    return [node(key, title=title) for key, title in zip(order, titles, strict=True)], needs


def points(line: Line) -> list[tuple[float, float]]:
    """The Bezier curve as drawn, sampled."""
    middle = (line.x1 + line.x2) / 2
    found = []
    for step in range(33):
        t = step / 32
        a, b, c, d = (1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3
        found.append((a * line.x1 + (b + c) * middle + d * line.x2, (a + b) * line.y1 + (c + d) * line.y2))
    return found


def spot(x: float, y: float) -> tuple[float, float]:
    return round(x, 1), round(y, 1)


def inside(box: Box, x: float, y: float) -> bool:
    return box.x + 0.2 < x < box.x + box.width - 0.2 and box.y + 0.2 < y < box.y + box.height - 0.2


def overlap(one: Box, two: Box) -> bool:
    return (
        one.x < two.x + two.width
        and two.x < one.x + one.width
        and one.y < two.y + two.height
        and two.y < one.y + one.height
    )


@given(plans())
def test_no_box_overlaps_another(plan: Plan):
    graph = layout(*plan)
    assert not [pair for pair in combinations(graph.boxes, 2) if overlap(*pair)]


@given(plans())
def test_no_edge_runs_through_a_box(plan: Plan):
    graph = layout(*plan)
    hits = [
        (line, box) for line in graph.lines for box in graph.boxes if any(inside(box, x, y) for x, y in points(line))
    ]
    assert not hits


@given(plans())
def test_everything_lies_inside_the_picture(plan: Plan):
    graph = layout(*plan)
    for box in graph.boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.width <= graph.width
        assert box.y + box.height <= graph.height
    for line in graph.lines:
        assert 0 <= line.x1 <= line.x2 <= graph.width
        assert all(0 <= y <= graph.height for _, y in points(line))


@given(plans())
def test_every_subtask_is_drawn_once_and_after_what_it_needs(plan: Plan):
    nodes, needs = plan
    boxes = {box.node.key: box for box in layout(nodes, needs).boxes}
    assert boxes.keys() == {one.key for one in nodes}
    assert all(boxes[need].x < boxes[key].x for key, sources in needs.items() for need in sources)


@given(plans())
def test_every_dependency_can_be_followed_along_the_lines(plan: Plan):
    nodes, needs = plan
    graph = layout(nodes, needs)
    boxes = {box.node.key: box for box in graph.boxes}
    starts: dict[tuple[float, float], list[Line]] = {}
    for line in graph.lines:
        starts.setdefault(spot(line.x1, line.y1), []).append(line)
    for key, sources in needs.items():
        goal = spot(boxes[key].x, boxes[key].y + boxes[key].height / 2)
        for need in sources:
            source = boxes[need]
            reached = {spot(source.x + source.width, source.y + source.height / 2)}
            for _ in range(2 * len(nodes)):
                for point in list(reached):
                    reached |= {spot(line.x2, line.y2) for line in starts.get(point, [])}
            assert goal in reached


def test_a_long_edge_passes_beside_the_box_between():
    graph = layout([node("a"), node("b"), node("c")], {"b": ["a"], "c": ["a", "b"]})
    between = next(box for box in graph.boxes if box.node.key == "b")
    level = [line for line in graph.lines if line.x1 == between.x]
    assert len(level) == 1
    assert not between.y <= level[0].y1 <= between.y + between.height


def test_without_a_slot_of_its_own_that_edge_would_run_through_the_box():
    graph = layout([node("a"), node("b"), node("c")], {"b": ["a"], "c": ["b"]})
    a, b, c = graph.boxes
    direct = Line(a.x + a.width, a.y + a.height / 2, c.x, c.y + c.height / 2)
    assert any(inside(b, x, y) for x, y in points(direct))


def test_an_empty_plan_is_an_empty_picture():
    assert layout([], {}) == Graph(2 * MARGIN, MARGIN, (), ())


def test_a_single_subtask_is_one_box_in_the_corner():
    graph = layout([node("a")], {})
    assert (graph.boxes[0].x, graph.boxes[0].y) == (MARGIN, MARGIN)
    assert not graph.lines


def test_a_cycle_is_refused():
    with pytest.raises(CycleError):
        layout([node("a"), node("b")], {"a": ["b"], "b": ["a"]})


def test_dependencies_outside_the_picture_are_left_out():
    assert not layout([node("a")], {"a": ["gone"]}).lines


def test_the_same_plan_gives_the_same_picture():
    plan = ([node(key) for key in "abcdef"], {"d": ["a", "b"], "e": ["b", "c"], "f": ["a", "e"]})
    assert layout(*plan) == layout(*plan)


@given(st.text(min_size=1, max_size=80))
def test_a_label_fits_its_box_and_keeps_its_full_title(title: str):
    box = layout([node("a", title=title)], {}).boxes[0]
    assert len(box.label) * CHARACTER + TEXT_INDENT + TEXT_END <= box.width + 0.01 or len(title) == 1
    assert box.node.title == title
    assert box.cut is (box.label != title)


def test_a_cut_label_ends_in_an_ellipsis_and_in_no_dangling_hyphen():
    assert clip("replace-the-session-store", 13) == "replace-the…"
    assert clip("short", 13) == "short"


@given(
    st.lists(st.floats(-1000, 1000), min_size=1, max_size=20),
    st.floats(1, 50),
)
def test_places_keep_order_and_distance(wanted: list[float], gap: float):
    found = place(wanted, [gap] * (len(wanted) - 1))
    assert all(low - high >= gap - 1e-6 for high, low in pairwise(found))


def test_places_are_the_wanted_ones_where_there_is_room():
    assert place([0, 100, 300], [50, 50]) == [0, 100, 300]
    assert place([10, 10], [50]) == [-15, 35]


def test_a_small_plan_is_not_folded():
    nodes = [node(str(index), "done") for index in range(FOLD_ABOVE)]
    assert fold(nodes, {})[0] == nodes


def test_a_large_plan_folds_what_is_finished_and_keeps_what_moves():
    done = [node(f"d{index}", "done") for index in range(FOLD_ABOVE)]
    running = [node(f"r{index}", "running") for index in range(5)]
    shown, needs = fold([*done, *running], {"r0": ["d0", "d1"]}, href="#list")
    assert [one.title for one in shown] == [f"{FOLD_ABOVE} subtasks", *(one.title for one in running)]
    assert shown[0].href == "#list"
    assert needs["r0"] == [shown[0].key]


def test_a_folded_plan_has_no_cycle_and_no_orphan():
    nodes = [node(f"n{index}", "done" if index % 3 else "running") for index in range(120)]
    needs = {f"n{index}": [f"n{index - 7}", f"n{index - 2}"] for index in range(7, 120)}
    shown, folded = fold(nodes, needs)
    assert len(shown) <= len(nodes)
    assert {key for sources in folded.values() for key in sources} <= {one.key for one in shown}
    layout(shown, folded)


def test_two_hundred_a_column_still_hold_all_promises():
    count = 200
    nodes = [node(f"{level}-{index}", "running") for level in range(3) for index in range(count)]
    needs = {
        f"{level}-{index}": [f"{level - 1}-{index}", f"{level - 1}-{(index * 7 + 3) % count}"]
        for level in (1, 2)
        for index in range(count)
    }
    graph = layout(nodes, needs)
    columns: dict[float, list[Box]] = {}
    for box in graph.boxes:
        columns.setdefault(box.x, []).append(box)
    for boxes in columns.values():
        tops = sorted(box.y for box in boxes)
        assert all(low - high >= boxes[0].height for high, low in pairwise(tops))
