"""What an agent reads of a conflict that is ahead: short, with the other's change, and with what it can do."""

from __future__ import annotations

from orchestration.domain.clashes import Clash, Place, listed
from orchestration.domain.steering import MAX_MESSAGE
from orchestration.domain.warnings import MOST_DIFF, SURE, UNSURE, Told, warning


def clash(*paths: str, place: Place = Place.LANDED, sure: bool = True) -> Clash:
    return Clash("id1", "mine", "id2", "theirs", place, paths or ("a.txt",), sure)


def test_it_names_the_file_who_landed_it_what_they_said_and_what_changed():
    text = warning([Told(clash(), "Made a louder.", {"a.txt": "-one\n+ONE\n"})])
    assert text.startswith("Your work will conflict with theirs in a.txt.")
    assert "theirs has landed a change of it since you began. It says: Made a louder." in text
    assert "| -one\n| +ONE" in text
    assert text.endswith(SURE)


def test_of_a_file_that_it_has_not_changed_it_is_told_to_read_first():
    text = warning([Told(clash(sure=False))])
    assert "may conflict" in text
    assert text.endswith(UNSURE)


def test_it_says_whether_the_other_lands_before_or_works_beside_it():
    assert "will land before yours" in warning([Told(clash(place=Place.QUEUED))])
    assert "at the same time" in warning([Told(clash(place=Place.RUNNING))])


def test_several_are_one_message_with_one_advice():
    text = warning([Told(clash("a.txt")), Told(clash("b.txt", place=Place.RUNNING))])
    assert text.count(SURE) == 1
    assert "in a.txt." in text
    assert "in b.txt." in text


def test_a_long_change_is_cut_at_a_line_and_the_message_can_be_sent():
    long = "".join(f"+line {number}\n" for number in range(5000))
    text = warning(
        [Told(clash("a.txt", "b.txt", "c.txt"), "x" * 200, dict.fromkeys(("a.txt", "b.txt", "c.txt"), long))]
    )
    assert len(text) < MAX_MESSAGE
    assert text.count("| (the rest is not shown)") == 2
    assert all(line.startswith(("| +line ", "| (the rest")) for line in text.splitlines() if line.startswith("|"))


def test_one_line_that_is_too_long_is_left_out():
    text = warning([Told(clash(), diffs={"a.txt": "x" * (MOST_DIFF + 1)})])
    assert "xxx" not in text


def test_many_files_are_counted():
    assert listed([f"f{number}" for number in range(8)]) == "f0, f1, f2, f3, f4 and 3 more"
