"""A person writes to agents and answers them on the page, and sees what became of it."""

from __future__ import annotations

import pytest
from django.test import Client
from playwright.sync_api import BrowserContext, expect

from orchestration.models import Attempt, Delivery, Message, Question
from orchestration.stages.ask import answer
from orchestration.stages.transition import note
from tests import factories as make
from tests.web.conftest import House, sign_in
from tests.web.server import LiveServer


def at_work(house: House, name: str = "docs") -> Attempt:
    return make.make_attempt(make.make_subtask(house.swarm, name=name, status="running"))


def asking(house: House, **fields: object) -> Question:
    subtask = make.make_subtask(house.swarm, name="docs", status="waiting")
    attempt = make.make_attempt(subtask, status="waiting", lease_token="")
    return make.make_question(house.swarm, attempt, **fields)


def see(client: Client, path: str) -> str:
    return client.get(path).content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_message_to_the_swarm_is_shown_with_its_way(house: House):
    attempt = at_work(house)
    client, path = house.client("member"), f"/swarms/{house.swarm.public_id}/"
    page = client.post(f"{path}message/", {"text": "Use <b>tabs</b>."}, follow=True).content.decode()
    assert "Sent. Below stands who has heard it." in page
    assert "Use &lt;b&gt;tabs&lt;/b&gt;." in page
    assert "the planner" in page
    Delivery.objects.filter(subtask=attempt.subtask).update(
        status="answered", attempt=attempt, turn=4, reply="Tabs it is."
    )
    page = see(client, path)
    assert "attempt 1, turn 4" in page
    assert "Tabs it is." in page


@pytest.mark.django_db(transaction=True)
def test_a_message_to_a_subtask(house: House):
    subtask = at_work(house).subtask
    client = house.client("member")
    page = client.post(f"/subtasks/{subtask.public_id}/message/", {"text": "Be brief."}, follow=True)
    assert "Be brief." in page.content.decode()
    message = Message.objects.get()
    assert (message.subtask, message.sender) == (subtask, house.member)


def test_what_is_refused_is_said(house: House):
    page = house.client("member").post(f"/swarms/{house.swarm.public_id}/message/", {"text": " "}, follow=True)
    assert "The message is empty." in page.content.decode()


def test_nobody_is_offered_to_write_where_nobody_reads(house: House):
    path = f"/swarms/{house.swarm.public_id}/"
    assert 'name="text"' in see(house.client("member"), path)
    assert 'name="text"' not in see(house.client("viewer"), path)
    done = make.make_swarm(house.repository, status="succeeded")
    assert 'name="text"' not in see(house.client("member"), f"/swarms/{done.public_id}/")
    settled = make.make_subtask(house.swarm, status="complete")
    assert 'name="text"' not in see(house.client("member"), f"/subtasks/{settled.public_id}/")


@pytest.mark.parametrize("where", ["swarm", "subtask"])
def test_a_question_stands_at_the_top_with_its_options(house: House, where: str):
    question = asking(house)
    subtask = question.asked_by.subtask
    paths = {"swarm": f"/swarms/{house.swarm.public_id}/", "subtask": f"/subtasks/{subtask.public_id}/"}
    page = see(house.client("member"), paths[where])
    assert page.index("Tabs or spaces?") < page.index(f'id="{where}-header"')
    assert 'name="answer" value="tabs"' in page
    seen = see(house.client("viewer"), paths[where])
    assert "Tabs or spaces?" in seen
    assert 'value="tabs"' not in seen


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("form", "said"), [({"answer": "tabs"}, "tabs"), ({"own": "Both."}, "Both.")])
def test_it_is_answered_by_a_button_or_in_own_words(house: House, form: dict[str, str], said: str):
    question = asking(house)
    given = {f"answer-{question.public_id}" if name == "own" else name: text for name, text in form.items()}
    page = house.client("member").post(f"/questions/{question.public_id}/answer/", given, follow=True)
    question.refresh_from_db()
    assert (question.status, question.answer, question.answered_by) == ("answered", said, house.member)
    assert f"<strong>member</strong>: {said}" in page.content.decode()
    assert question.asked_by.subtask.__class__.objects.get(name="docs").status == "pending"


@pytest.mark.django_db(transaction=True)
def test_one_that_has_an_answer_keeps_it(house: House):
    question = asking(house)
    answer(question, house.member, "tabs")
    page = house.client("owner").post(f"/questions/{question.public_id}/answer/", {"answer": "spaces"}, follow=True)
    assert "needs no answer any more" in page.content.decode()
    assert Question.objects.get().answer == "tabs"


def test_the_board_says_who_needs_whom(house: House):
    asking(house)
    page = see(house.client("member"), "/")
    needs = page[page.index('id="column-needs"') : page.index('id="column-running"')]
    assert "1 question of its agents for you." in needs
    Question.objects.update(status="answered")
    page = see(house.client("member"), "/")
    assert "of its agents" not in page


def test_a_question_appears_while_one_watches_and_is_answered_with_the_keyboard(
    live_house: House, context: BrowserContext, server: LiveServer
):
    attempt = make.make_attempt(make.make_subtask(live_house.swarm, name="docs", status="running"))
    sign_in(context, live_house.client("member"), server.url)
    page = context.new_page()
    page.goto(f"/swarms/{live_house.swarm.public_id}/")
    page.keyboard.press("m")
    page.keyboard.type("Use tabs.")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Use tabs.", exact=True)).to_be_visible()
    expect(page.locator("#live")).to_have_text("live")
    box = page.locator("#message-text")
    box.fill("half a wo")
    Attempt.objects.filter(pk=attempt.pk).update(status="waiting")
    type(attempt.subtask).objects.update(status="waiting")
    question = make.make_question(live_house.swarm, attempt)
    note(live_house.swarm, "swarm.noted", reason="Asked.")
    own = page.get_by_label("Or in your own words")
    own.fill("Tabs, 4 wide.")
    expect(box).to_have_value("half a wo")
    note(live_house.swarm, "swarm.noted", reason="Something else.")
    expect(page.get_by_text("Something else.").first).to_be_visible()
    expect(own).to_have_value("Tabs, 4 wide.")
    own.focus()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Answered: the agent goes on")).to_be_visible()
    question.refresh_from_db()
    assert question.answer == "Tabs, 4 wide."
