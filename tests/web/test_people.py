"""Signing in and out, one-time links, passwords, the theme."""

from __future__ import annotations

import pytest
from django.core import signing
from django.test import Client
from pytest_django.fixtures import Settings

from orchestration.models import User
from orchestration.reads.sign_in import one_time_path, user_of_link
from orchestration.web.people import MOST_FAILURES
from tests import factories as make

NEW = "a longer new password"


@pytest.fixture
def ada(db: None) -> User:
    return make.make_user("ada")


@pytest.fixture
def newcomer(db: None) -> User:
    user = make.make_user("newcomer")
    user.set_unusable_password()
    user.save()
    return user


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def try_password(client: Client, name: str, password: str, **more: str) -> str:
    return client.post("/sign-in/", {"username": name, "password": password, **more}).content.decode()


def test_it_signs_in_with_a_password(ada: User, client: Client):
    try_password(client, "ada", make.PASSWORD)
    assert is_signed_in(client)


@pytest.mark.parametrize(("name", "password"), [("ada", "wrong"), ("nobody", make.PASSWORD), ("", "")])
def test_it_refuses_everything_else_and_keeps_the_name(ada: User, client: Client, name: str, password: str):
    page = try_password(client, name, password)
    assert not is_signed_in(client)
    assert f'value="{name}"' in page or not name
    assert "password123" not in page


def test_it_tells_nobody_whether_a_name_exists(ada: User, client: Client):
    known = try_password(client, "ada", "wrong").replace("ada", "")
    unknown = try_password(Client(), "eve", "wrong").replace("eve", "")
    assert "do not go together" in known
    assert "do not go together" in unknown


def test_a_switched_off_account_does_not_get_in(ada: User, client: Client):
    User.objects.update(is_active=False)
    try_password(client, "ada", make.PASSWORD)
    assert not is_signed_in(client)


def test_guessing_is_stopped_even_when_the_right_one_comes(ada: User, client: Client):
    for _ in range(MOST_FAILURES):
        try_password(client, "ada", "wrong")
    page = try_password(client, "ADA".lower(), make.PASSWORD)
    assert "Too many failed tries" in page
    assert not is_signed_in(client)


def test_without_the_limit_the_last_guess_would_have_been_let_in(ada: User, client: Client):
    for _ in range(MOST_FAILURES - 1):
        try_password(client, "ada", "wrong")
    try_password(client, "ada", make.PASSWORD)
    assert is_signed_in(client)


def test_it_goes_where_one_wanted_to_go(ada: User, client: Client):
    login = {"username": "ada", "password": make.PASSWORD}
    assert client.post("/sign-in/?next=/repositories/", login).headers["Location"] == "/repositories/"


@pytest.mark.parametrize("onward", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_it_never_sends_anybody_elsewhere(ada: User, client: Client, onward: str):
    login = {"username": "ada", "password": make.PASSWORD, "next": onward}
    assert client.post("/sign-in/", login).headers["Location"] == "/"
    assert client.post("/theme/", {"theme": "dark", "next": onward}).headers["Location"] == "/"


def test_sign_out_ends_the_session(ada: User, client: Client):
    client.force_login(ada)
    assert client.post("/sign-out/").headers["Location"] == "/sign-in/"
    assert not is_signed_in(client)


def test_sign_out_needs_a_post(ada: User, client: Client):
    client.force_login(ada)
    assert client.get("/sign-out/").status_code == 405
    assert is_signed_in(client)


def test_opening_a_link_changes_nothing(newcomer: User, client: Client):
    page = client.get(one_time_path(newcomer))
    assert page.status_code == 200
    assert "Sign in as newcomer" in page.content.decode()
    assert not is_signed_in(client)


def test_its_button_signs_in_and_asks_for_a_password(newcomer: User, client: Client):
    response = client.post(one_time_path(newcomer), follow=True)
    assert is_signed_in(client)
    page = response.content.decode()
    assert "Set a password" in page
    assert "old_password" not in page


def test_a_link_works_once(newcomer: User, client: Client):
    path = one_time_path(newcomer)
    client.post(path)
    again = Client()
    assert again.post(path).status_code == 410
    assert again.get(path).status_code == 410
    assert not is_signed_in(again)


def test_a_link_runs_out(newcomer: User, client: Client, settings: Settings):
    path = one_time_path(newcomer)
    settings.PASSWORD_RESET_TIMEOUT = -1
    assert client.post(path).status_code == 410
    assert not is_signed_in(client)


def test_a_link_does_not_fit_anybody_else(newcomer: User, ada: User, client: Client):
    _, _, key, token, _ = one_time_path(newcomer).split("/")
    others = one_time_path(ada).split("/")[2]
    assert user_of_link(key, token) == newcomer
    assert user_of_link(others, token) is None
    assert client.post(f"/sign-in/{others}/{token}/").status_code == 410


@pytest.mark.parametrize("key", ["x", "%00", "MQ", "4pyT", "LTE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"])
def test_nonsense_in_a_link_is_a_link_that_is_over(ada: User, client: Client, key: str):
    assert client.get(f"/sign-in/{key}/{signing.dumps('x')}/").status_code == 410


def test_a_link_of_a_switched_off_account_is_over(newcomer: User, client: Client):
    path = one_time_path(newcomer)
    User.objects.update(is_active=False)
    assert client.post(path).status_code == 410


def test_who_came_by_a_link_sets_a_password_without_the_old_one(ada: User, client: Client):
    """Also somebody who had one: that is what a forgotten password looks like."""
    client.post(one_time_path(ada))
    assert client.post("/profile/", {"new_password1": NEW, "new_password2": NEW}).status_code == 302
    ada.refresh_from_db()
    assert ada.check_password(NEW)


def test_afterwards_and_for_everybody_else_the_old_one_is_needed(ada: User, client: Client):
    client.post(one_time_path(ada))
    client.post("/profile/", {"new_password1": NEW, "new_password2": NEW})
    again = client.post("/profile/", {"new_password1": NEW + "2", "new_password2": NEW + "2"})
    assert again.status_code == 400
    ada.refresh_from_db()
    assert ada.check_password(NEW)


def test_changing_the_password_keeps_this_session_and_ends_others(ada: User, client: Client):
    other = Client()
    other.force_login(ada)
    client.force_login(ada)
    passwords = {"old_password": make.PASSWORD, "new_password1": NEW, "new_password2": NEW}
    assert client.post("/profile/", passwords).status_code == 302
    assert client.get("/profile/").status_code == 200
    assert other.get("/profile/").status_code == 302


def test_a_weak_password_is_refused_with_a_sentence(ada: User, client: Client):
    client.force_login(ada)
    passwords = {"old_password": make.PASSWORD, "new_password1": "12345", "new_password2": "12345"}
    page = client.post("/profile/", passwords)
    assert page.status_code == 400
    assert "too short" in page.content.decode()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_theme_is_in_the_first_byte_without_script(client: Client, theme: str):
    client.post("/theme/", {"theme": theme, "next": "/sign-in/"})
    assert f'data-theme="{theme}"' in client.get("/sign-in/").content.decode()


def test_an_unknown_theme_is_not_kept(client: Client, db: None):
    client.post("/theme/", {"theme": '"><script>', "next": "/sign-in/"})
    assert "theme" not in client.cookies
    client.cookies["theme"] = '"><script>'
    assert "><script>" not in client.get("/sign-in/").content.decode().replace('"></script><script>', "")
    assert "data-theme" not in client.get("/sign-in/").content.decode()
