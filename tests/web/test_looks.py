"""Every status has one look, and every look its colours, its glyph and enough contrast in both themes."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import pytest
from django.conf import settings

from orchestration.domain.states import TRANSITIONS, Status
from orchestration.web.looks import LOOKS, ROLES, look

STATIC = Path(settings.BASE_DIR) / "static"
TEMPLATES = Path(settings.BASE_DIR) / "templates"
STATUSES = [status for kind in TRANSITIONS for status in kind]
THEMES = ("light", "dark")
TEXT = 4.5
GRAPHIC = 3.0
PAIR = re.compile(r"--([a-z-]+):\s*light-dark\((#[0-9a-f]+),\s*(#[0-9a-f]+)\)")


def colours(css: str) -> dict[str, tuple[str, str]]:
    return {name: (light, dark) for name, light, dark in PAIR.findall(css)}


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, two: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(two)))
    return (lighter + 0.05) / (darker + 0.05)


TOKENS = colours((STATIC / "css/tokens.css").read_text())
STATES = {
    name: colours(body)
    for name, body in re.findall(r"\.state-([a-z]+)\s*\{([^}]*)\}", (STATIC / "css/states.css").read_text())
}


def test_contrast_of_black_on_white_is_what_the_standard_says():
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", range(2), ids=THEMES)
@pytest.mark.parametrize("role", ROLES)
def test_a_state_can_be_read(role: str, theme: int):
    state = STATES[role]
    assert contrast(state["ink"][theme], state["tint"][theme]) >= TEXT
    for surface in ("panel", "page", "sunken"):
        assert contrast(state["solid"][theme], TOKENS[surface][theme]) >= GRAPHIC


@pytest.mark.parametrize("theme", range(2), ids=THEMES)
@pytest.mark.parametrize("surface", ["page", "panel", "sunken"])
@pytest.mark.parametrize(
    ("ink", "least"),
    [("text", TEXT), ("muted", TEXT), ("accent", TEXT), ("focus", GRAPHIC), ("line-strong", GRAPHIC)],
)
def test_text_and_controls_can_be_read_on_every_surface(ink: str, least: float, surface: str, theme: int):
    assert contrast(TOKENS[ink][theme], TOKENS[surface][theme]) >= least


@pytest.mark.parametrize("theme", range(2), ids=THEMES)
def test_the_main_button_can_be_read(theme: int):
    assert contrast(TOKENS["on-accent"][theme], TOKENS["accent"][theme]) >= TEXT


@pytest.mark.parametrize("theme", range(2), ids=THEMES)
def test_every_pair_that_a_component_sets_itself_can_be_read(theme: int):
    css = (STATIC / "css/components.css").read_text()
    rules = re.findall(
        r"(?<!-)(?:background|color|--ink):\s*light-dark\((#\w+),\s*(#\w+)\);\s*"
        r"(?:border-color: transparent;\s*)?(?:background|color):\s*light-dark\((#\w+),\s*(#\w+)\)",
        css,
    )
    assert len(rules) >= 3  # the danger button and the two sides of a diff
    for rule in rules:
        assert contrast(rule[theme], rule[2 + theme]) >= TEXT


def test_the_map_of_colours_holds_the_known_roles_and_no_other():
    assert set(STATES) == set(ROLES)


@pytest.mark.parametrize("status", STATUSES, ids=lambda s: f"{type(s).__name__}.{s}")
def test_every_status_has_a_word_and_a_role(status: Status):
    assert look(status).word
    assert look(status).role in ROLES


def test_no_look_is_left_of_a_status_that_is_gone():
    assert set(LOOKS) == {str(status) for status in STATUSES}


def test_waiting_for_a_person_is_never_red():
    for status in ("awaiting_approval", "paused", "waiting", "blocked"):
        assert look(status).role == "waiting"


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_glyph(role: str):
    assert f'id="glyph-{role}"' in (TEMPLATES / "components/glyphs.html").read_text()


def vendored() -> list[tuple[str, str]]:
    lines = (STATIC / "vendor/VENDORED.txt").read_text().splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return [(row[0], row[-1]) for row in rows]


@pytest.mark.parametrize(("name", "checksum"), vendored(), ids=lambda v: v[:20])
def test_a_vendored_file_is_exactly_what_was_published(name: str, checksum: str):
    assert sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == checksum


def test_nothing_lies_among_the_vendored_files_without_a_record():
    present = {path.name for path in (STATIC / "vendor").glob("*.js")}
    assert present == {name for name, _ in vendored()}
