"""Pure geometry of the plan: boxes in columns by rank, and edges that keep to the gaps between them.

A long edge gets a slot of its own in every column it passes (a dummy), so it never runs behind a box.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from orchestration.domain.graph import levels

Needs = Mapping[str, Collection[str]]

MARGIN = 4.0
BOX_HEIGHT = 42.0
SLOT_HEIGHT = 2.0
BOX_SPACE = 12.0
SLOT_SPACE = 8.0
COLUMN_GAP = 44.0
# Wide enough for the widest common interface font at 12 px; a narrower one leaves a little air.
CHARACTER = 8.6
TEXT_INDENT = 30.0
TEXT_END = 10.0
NARROWEST, WIDEST = 124.0, 252.0
SWEEPS = 4
FOLD_ABOVE = 60
FOLD_AT_LEAST = 3
FOLDABLE = frozenset({"done", "queued", "cancelled"})


@dataclass(frozen=True)
class Node:
    key: str
    title: str
    role: str
    word: str
    detail: str = ""
    href: str = ""


@dataclass(frozen=True)
class Box:
    node: Node
    label: str
    x: float
    y: float
    width: float
    height: float = BOX_HEIGHT

    @property
    def inner_width(self) -> float:
        return self.width - 1

    @property
    def cut(self) -> bool:
        return self.label != self.node.title


@dataclass(frozen=True)
class Line:
    """From the right side of one column to the left side of the next, or level through a column."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def path(self) -> str:
        if self.y1 == self.y2:
            return f"M{self.x1:.1f} {self.y1:.1f}H{self.x2:.1f}"
        middle = (self.x1 + self.x2) / 2
        return (
            f"M{self.x1:.1f} {self.y1:.1f}C{middle:.1f} {self.y1:.1f} {middle:.1f} {self.y2:.1f} "
            f"{self.x2:.1f} {self.y2:.1f}"
        )


@dataclass(frozen=True)
class Graph:
    width: float
    height: float
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]

    @property
    def path(self) -> str:
        return "".join(line.path for line in self.lines)


@dataclass
class _Layers:
    """Keys by column; a dummy's key is (source, column), a node's its own."""

    columns: list[list[object]]
    lefts: dict[object, list[object]]
    rights: dict[object, list[object]]

    def links(self) -> Iterator[tuple[object, object]]:
        for source, targets in self.rights.items():
            for target in targets:
                yield source, target


def known(nodes: Sequence[Node], needs: Needs) -> dict[str, list[str]]:
    """The dependencies among these nodes, in the order of the nodes."""
    keys = {node.key for node in nodes}
    return {node.key: sorted(set(needs.get(node.key, ())) & keys) for node in nodes}


def fold(nodes: Sequence[Node], needs: Needs, *, href: str = "") -> tuple[list[Node], dict[str, list[str]]]:
    """Above FOLD_ABOVE nodes, what is finished or only pending in a column becomes one box with a count."""
    own = known(nodes, needs)
    if len(nodes) <= FOLD_ABOVE:
        return list(nodes), own
    rank = levels(own)
    groups: dict[tuple[int, str, str], list[Node]] = defaultdict(list)
    for node in nodes:
        if node.role in FOLDABLE:
            groups[rank[node.key], node.role, node.word].append(node)
    stand_in: dict[str, Node] = {}
    for (column, role, word), members in groups.items():
        if len(members) >= FOLD_AT_LEAST:
            title = f"{len(members)} subtasks"
            group = Node(f"fold-{column}-{role}-{word}", title, role, word, href=href)
            stand_in |= {member.key: group for member in members}
    shown = list(dict.fromkeys(stand_in.get(node.key, node) for node in nodes))
    folded: dict[str, set[str]] = {node.key: set() for node in shown}
    for key, sources in own.items():
        target = stand_in[key].key if key in stand_in else key
        folded[target] |= {stand_in[s].key if s in stand_in else s for s in sources}
    return shown, {key: sorted(sources) for key, sources in folded.items()}


def layout(nodes: Sequence[Node], needs: Needs) -> Graph:
    """Raises graphlib.CycleError where the needs have a cycle."""
    by_key = {node.key: node for node in nodes}
    layers = _layers(nodes, known(nodes, needs))
    _untangle(layers)
    middles = _heights(layers, by_key)
    spans = _columns(layers, by_key)
    boxes = tuple(
        _box(by_key[key], spans[column], middles[key])
        for column, keys in enumerate(layers.columns)
        for key in keys
        if isinstance(key, str)
    )
    lines = tuple(_lines(layers, middles, spans))
    height = max([box.y + box.height for box in boxes] + [line.y2 for line in lines], default=0.0) + MARGIN
    width = spans[-1][1] + MARGIN if spans else 2 * MARGIN
    return Graph(width, height, boxes, lines)


def _layers(nodes: Sequence[Node], needs: Mapping[str, list[str]]) -> _Layers:
    rank = levels(needs)
    layers = _Layers([[] for _ in range(max(rank.values(), default=-1) + 1)], defaultdict(list), defaultdict(list))
    for node in nodes:
        layers.columns[rank[node.key]].append(node.key)
    for node in nodes:
        for source in needs[node.key]:
            _chain(layers, source, rank[source], node.key, rank[node.key])
    return layers


def _chain(layers: _Layers, source: str, start: int, target: str, end: int) -> None:
    """Edges that leave the same node share their dummies, so a bundle is drawn as one line."""
    chain: list[object] = [source, *((source, column) for column in range(start + 1, end)), target]
    for offset, (left, right) in enumerate(pairwise(chain)):
        if right in layers.rights[left]:
            continue
        layers.rights[left].append(right)
        layers.lefts[right].append(left)
        if not isinstance(right, str):
            layers.columns[start + 1 + offset].append(right)


def _untangle(layers: _Layers) -> None:
    """Barycentre sweeps: each column is ordered by the mean place of its neighbours."""
    for sweep in range(SWEEPS):
        rightwards = sweep % 2 == 0
        columns = layers.columns if rightwards else layers.columns[::-1]
        neighbours = layers.lefts if rightwards else layers.rights
        for fixed, free in pairwise(columns):
            places = {key: index for index, key in enumerate(fixed)}
            pulls = {key: _mean([places[other] for other in neighbours[key]], index) for index, key in enumerate(free)}
            free.sort(key=pulls.__getitem__)


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _heights(layers: _Layers, by_key: Mapping[str, Node]) -> dict[object, float]:
    """The middle of every key: near its neighbours, in order, and at least the needed space apart."""
    gaps = [_gaps(column) for column in layers.columns]
    middles: dict[object, float] = {}
    for column, between in zip(layers.columns, gaps, strict=True):
        total = sum(between)
        middles |= dict(zip(column, place([-total / 2] * len(column), between), strict=True))
    for sweep in range(2 * SWEEPS):
        rightwards = sweep % 2 == 0
        neighbours = layers.lefts if rightwards else layers.rights
        indices = range(len(layers.columns))
        for index in indices if rightwards else reversed(indices):
            column = layers.columns[index]
            wanted = [_mean([middles[x] for x in neighbours[key]], middles[key]) for key in column]
            middles |= dict(zip(column, place(wanted, gaps[index]), strict=True))
    top = min((y - _tall(key) / 2 for key, y in middles.items()), default=0.0)
    return {key: round(y - top + MARGIN, 1) for key, y in middles.items()}


def _tall(key: object) -> float:
    return BOX_HEIGHT if isinstance(key, str) else SLOT_HEIGHT


def _gaps(column: Sequence[object]) -> list[float]:
    """Between the middles of neighbours in a column."""
    return [
        (_tall(upper) + _tall(lower)) / 2
        + (BOX_SPACE if isinstance(upper, str) and isinstance(lower, str) else SLOT_SPACE)
        for upper, lower in pairwise(column)
    ]


def place(wanted: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """The positions nearest to the wanted ones that keep order and gaps (pool adjacent violators)."""
    offsets = [0.0]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    pools: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=False):
        pools.append((want - offset, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (last, m), (before, n) = pools.pop(), pools.pop()
            pools.append(((before * n + last * m) / (n + m), n + m))
    level = [mean for mean, count in pools for _ in range(count)]
    return [base + offset for base, offset in zip(level, offsets, strict=False)]


def _columns(layers: _Layers, by_key: Mapping[str, Node]) -> list[tuple[float, float]]:
    """Left and right of each column: as wide as its longest text, within bounds."""
    spans: list[tuple[float, float]] = []
    left = MARGIN
    for column in layers.columns:
        nodes = [by_key[key] for key in column if isinstance(key, str)]
        longest = max((max(len(n.title), len(_sub(n)) - 1) for n in nodes), default=0)
        width = min(WIDEST, max(NARROWEST, longest * CHARACTER + TEXT_INDENT + TEXT_END))
        spans.append((left, left + width))
        left += width + COLUMN_GAP
    return spans


def _sub(node: Node) -> str:
    return f"{node.word} · {node.detail}" if node.detail else node.word


def _box(node: Node, span: tuple[float, float], middle: float) -> Box:
    left, right = span
    room = round((right - left - TEXT_INDENT - TEXT_END) / CHARACTER - 0.49)
    return Box(node, clip(node.title, room), left, middle - BOX_HEIGHT / 2, right - left)


def clip(text: str, room: int) -> str:
    return text if len(text) <= room else text[: max(1, room - 1)].rstrip("-_. ") + "…"


def _lines(layers: _Layers, middles: Mapping[object, float], spans: Sequence[tuple[float, float]]) -> Iterator[Line]:
    at = {key: column for column, keys in enumerate(layers.columns) for key in keys}
    for column, keys in enumerate(layers.columns):
        for key in keys:
            if not isinstance(key, str):
                yield Line(spans[column][0], middles[key], spans[column][1], middles[key])
    for left, right in layers.links():
        yield Line(spans[at[left]][1], middles[left], spans[at[right]][0], middles[right])
