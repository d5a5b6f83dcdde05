"""Agents of the Agent Client Protocol, as a real process in a real sandbox that speaks the real protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from typing_extensions import override

from orchestration.adapters.sandbox import choose_sandbox
from orchestration.domain.agents import Permissions
from orchestration.domain.handoffs import Claim
from tests.agents.outside import PYTHON, SCRIPT, OutsideDesk
from tests.agents.rig import TASK, Letters

pytestmark = pytest.mark.sandbox


@dataclass
class Late(Letters):
    """What people say comes at the end of each turn, one after the other; the beginning is quiet."""

    later: list[str] = field(default_factory=list)
    looks: int = 0

    @override
    def news(self) -> Sequence[str]:
        self.looks += 1
        if self.looks == 1 or not self.later:
            return ()
        self.log.append(f"took {self.later[0]}")
        return [self.later.pop(0)]


@pytest.fixture
def desk(tmp_path: Path) -> OutsideDesk:
    (tmp_path / "work").mkdir()
    return OutsideDesk(tmp_path / "work")


def test_it_is_told_its_task_and_its_last_message_is_the_handoff(desk: OutsideDesk):
    handoff = desk.run()
    assert (handoff.status, handoff.summary) == (Claim.COMPLETE, "I wrote done.txt.")
    assert (desk.root / "prompt-1.txt").read_text() == TASK
    assert (desk.root / "done.txt").read_text() == "done\n"
    assert desk.report.turns == [], "the gateway books its model calls"


def test_it_works_the_same_without_a_sandbox(tmp_path: Path):
    desk = OutsideDesk(tmp_path, choose_sandbox("none"))
    assert desk.run("files").status is Claim.COMPLETE
    assert desk.made("files.json")["whole"] == "one\ntwo\nthree\n"


def test_it_is_offered_files_and_no_terminal(desk: OutsideDesk):
    desk.run()
    hello = desk.made("hello.json")
    assert hello["protocolVersion"] == 1
    assert hello["clientCapabilities"] == {"fs": {"readTextFile": True, "writeTextFile": True}, "terminal": False}


def test_its_plan_thoughts_and_tool_calls_become_steps(desk: OutsideDesk):
    assert desk.run("everything").summary == "I wrote done.txt."
    assert desk.steps("session") == [({"agent": "Scripted 1.2"}, "Scripted 1.2 opened a session.", True)]
    assert desk.steps("plan") == [({}, "[pending] write it", True)], "the same plan is told once"
    assert desk.steps("thought") == [({}, "Hm, a file.", True)]
    given = {"title": "Write done.txt", "input": '{"path":"done.txt"}'}
    assert desk.steps("edit") == [(given, "It is there.", True)]
    assert desk.steps("execute") == [({"title": "Run tests"}, "", False)]
    assert desk.steps("search") == [({"title": "Never ends"}, "It was not finished.", False)]
    assert desk.report.signs > 0


def test_it_gets_its_own_home_settings_and_variables_and_nothing_of_ours(
    desk: OutsideDesk, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "the-real-key-of-the-server")
    desk.employ(
        desk.spec(
            PYTHON,
            SCRIPT,
            "looks-around",
            "{model}",
            environment={"BASE": "{openai_url}", "OTHER": "{anthropic_url}", "KEY": "{token}", "AT": "{workspace}"},
            files={".config/scripted.json": '{"model": "{model}", "home": "{home}", "other": {"keep": "{this}"}}'},
        )
    )
    seen = desk.made("seen.json")
    assert seen["arguments"] == ["m-1"]
    assert seen["settings"] == '{"model": "m-1", "home": "/home/agent", "other": {"keep": "{this}"}}'
    given = {name: seen["environment"][name] for name in ("BASE", "OTHER", "KEY", "AT", "HOME")}
    assert given == {
        "BASE": "http://127.0.0.1:8787/openai/v1",
        "OTHER": "http://127.0.0.1:8787/anthropic",
        "KEY": "token-1",
        "AT": "/workspace",
        "HOME": "/home/agent",
    }
    assert "the-real-key-of-the-server" not in (desk.root / "seen.json").read_text()
    assert {line.split(":")[0].strip() for line in seen["network"].splitlines()[2:]} <= {"lo", "sit0", "tunl0"}


def test_permissions_are_answered_by_policy_and_written_down(desk: OutsideDesk):
    desk.run("permissions")
    assert desk.made("permissions.json") == ["yes", "no", "no", "yes", "no", "no", "no"]
    said = [text for _, text, _ in desk.steps("permission")]
    assert said == [
        "Allowed.",
        "Refused: /etc/passwd is outside the workspace.",
        "Refused: /workspace/../x is outside the workspace.",
        "Allowed.",
        "Refused: There is no network.",
        "Refused: /etc/passwd is outside the workspace.",
        "Refused: /etc/passwd is outside the workspace.",
    ]


@pytest.mark.parametrize(("policy", "answers"), [(Permissions.ALL, ["yes"] * 7), (Permissions.NONE, ["no"] * 6)])
def test_other_policies_allow_everything_or_only_looking(desk: OutsideDesk, policy: Permissions, answers: list[str]):
    desk.run("permissions", permissions=policy)
    assert desk.made("permissions.json")[: len(answers)] == answers
    assert desk.made("permissions.json")[-1] == "yes", "to read is to look"


def test_its_files_are_those_of_the_workspace_and_no_others(desk: OutsideDesk):
    desk.run("files")
    found = desk.made("files.json")
    assert (found["whole"], found["part"]) == ("one\ntwo\nthree\n", "two\n")
    assert not [said for said in found["refused"] if said.startswith("allowed")], found["refused"]
    assert "does not exist" in found["refused"][6]
    assert found["refused"][-1] == "terminal/create is not offered here."
    assert desk.steps("write") == [({"path": "deep/made.txt"}, "Created deep/made.txt: 3 lines.", True)]


def test_a_claim_that_is_not_believed_is_told_and_can_be_mended(desk: OutsideDesk):
    desk.report.refuses = [["Nothing was changed."], ["The check failed."]]
    assert desk.run("mends").summary == "Turn 3 is over."
    assert "Nothing was changed." in (desk.root / "prompt-2.txt").read_text()
    assert "The check failed." in (desk.root / "prompt-3.txt").read_text()


def test_a_claim_that_is_never_mended_stands_for_our_verdict(desk: OutsideDesk):
    desk.report.refuses = [["No."]] * 9
    assert desk.run("mends").summary == "Turn 3 is over."
    assert len(desk.report.claims) == 3


def test_it_may_say_honestly_that_it_is_not_done(desk: OutsideDesk):
    handoff = desk.run("honest")
    assert (handoff.status, handoff.summary) == (Claim.BLOCKED, "The parser is missing.")
    assert desk.report.claims == []


@pytest.mark.parametrize(
    ("behaviour", "status", "concern"),
    [
        ("out-of-tokens", Claim.PARTIAL, "limit of tokens"),
        ("out-of-turns", Claim.PARTIAL, "its own limit of turns"),
        ("refuses", Claim.FAILED, "refused to go on"),
        ("cancels-itself", Claim.FAILED, "nobody asked it to stop"),
    ],
)
def test_why_it_stopped_decides_what_is_handed_off(desk: OutsideDesk, behaviour: str, status: Claim, concern: str):
    handoff = desk.run(behaviour)
    assert handoff.status is status
    assert concern in handoff.concerns[0]
    assert handoff.summary


def test_silence_at_the_end_is_a_summary_too(desk: OutsideDesk):
    assert desk.run("says-nothing").summary == "The agent ended its turn without a word."


def test_what_it_counted_is_told(desk: OutsideDesk):
    desk.run("counts")
    assert desk.steps("session")[-1][1] == "The agent counted 321 tokens."


def test_it_signs_in_where_it_is_asked_to(desk: OutsideDesk):
    assert desk.run("sign-in").status is Claim.COMPLETE


def test_it_signs_in_the_way_that_is_set(desk: OutsideDesk):
    assert desk.run("sign-in", auth_method="key").status is Claim.COMPLETE


def test_a_sign_in_that_cannot_be_done_says_what_is_offered(desk: OutsideDesk):
    assert "cannot be done here (browser, key)" in str(desk.fails("sign-in-never"))


def test_the_sessions_mode_can_be_set(desk: OutsideDesk):
    desk.run(session_mode="autonomous")
    assert (desk.root / "mode.txt").read_text() == "autonomous"


def test_what_people_say_meanwhile_is_the_next_prompt_instead_of_the_end(desk: OutsideDesk):
    late = desk.report.inbox = Late(later=["Use tabs.", "And be quick."])
    handoff = desk.run("mends")
    assert handoff.summary == "Turn 3 is over."
    assert [desk.root.joinpath(f"prompt-{turn}.txt").read_text() for turn in (2, 3)] == ["Use tabs.", "And be quick."]
    assert late.log[-3:] == ["took And be quick.", "sent", "answered"]
    assert [claim.summary for claim in desk.report.claims] == ["Turn 3 is over."], "only its last word counts"


def test_after_a_limit_of_its_own_nobody_is_told_any_more(desk: OutsideDesk):
    late = desk.report.inbox = Late(later=["Use tabs."])
    assert desk.run("out-of-turns").status is Claim.PARTIAL
    assert late.later == ["Use tabs."], "the next attempt hears it"


def test_what_waits_at_the_beginning_is_in_the_first_prompt(desk: OutsideDesk):
    desk.report.inbox = Letters(waiting=["Use tabs."])
    desk.run("mends")
    assert desk.root.joinpath("prompt-1.txt").read_text() == f"{TASK}\n\nUse tabs."
    assert desk.report.inbox.log == ["took Use tabs.", "sent", "answered"]
