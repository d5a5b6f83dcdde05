"""The pages' addresses. Where a page and its action share one, the method decides."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.urls import path

from orchestration.web import (
    actions,
    api_tokens,
    conflicts,
    endpoints,
    health,
    landings,
    pages,
    people,
    queue_pages,
    repositories,
    reverts,
    speaking,
)

View = Callable[..., HttpResponseBase]


def by_method(page: View, action: View) -> View:
    """GET shows the page, POST does the action; both look after the rest themselves."""

    def view(request: HttpRequest, **kwargs: str) -> HttpResponseBase:
        return action(request, **kwargs) if request.method == "POST" else page(request, **kwargs)

    return view


urlpatterns = [
    path("healthz", health.alive, name="alive"),
    path("readyz", health.ready, name="ready"),
    path("", pages.board, name="board"),
    path("demo/", actions.demo, name="demo"),
    path("sign-in/", people.SignIn.as_view(), name="sign-in"),
    path("sign-in/<str:key>/<str:token>/", people.sign_in_link, name="sign-in-link"),
    path("sign-out/", people.sign_out, name="sign-out"),
    path("profile/", people.profile, name="profile"),
    path("profile/tokens/", api_tokens.new_token, name="new-token"),
    path("profile/tokens/<str:public_id>/revoke/", api_tokens.revoke_token, name="revoke-token"),
    path("theme/", people.theme, name="theme"),
    path("swarms/new/", by_method(pages.new_swarm, actions.new_swarm), name="new-swarm"),
    path("swarms/<str:public_id>/", pages.swarm, name="swarm"),
    path("swarms/<str:public_id>/plan/", pages.swarm_plan, name="swarm-plan"),
    path("swarms/<str:public_id>/queue/", queue_pages.swarm_queue, name="swarm-queue"),
    path("swarms/<str:public_id>/subtasks/", pages.swarm_subtasks, name="swarm-subtasks"),
    path(
        "swarms/<str:public_id>/subtasks/new/",
        by_method(pages.new_subtask, actions.new_subtask),
        name="new-subtask",
    ),
    path("swarms/<str:public_id>/pause/", actions.pause, name="swarm-pause"),
    path("swarms/<str:public_id>/resume/", actions.resume, name="swarm-resume"),
    path("swarms/<str:public_id>/approve/", actions.approve, name="swarm-approve"),
    path("swarms/<str:public_id>/limits/", by_method(pages.swarm_limits, actions.change_limits), name="swarm-limits"),
    path("swarms/<str:public_id>/cancel/", by_method(pages.swarm_cancel, actions.cancel), name="swarm-cancel"),
    path("swarms/<str:public_id>/landing/", landings.land, name="swarm-landing"),
    path("subtasks/<str:public_id>/", pages.subtask, name="subtask"),
    path("subtasks/<str:public_id>/edit/", by_method(pages.edit_subtask, actions.edit_subtask), name="subtask-edit"),
    path("subtasks/<str:public_id>/retry/", actions.retry_subtask, name="subtask-retry"),
    path(
        "subtasks/<str:public_id>/conflict/",
        by_method(conflicts.conflict, conflicts.settle_conflict),
        name="subtask-conflict",
    ),
    path("subtasks/<str:public_id>/conflict/guide/", conflicts.guide_agent, name="conflict-guide"),
    path("subtasks/<str:public_id>/conflict/give-up/", conflicts.give_up_conflict, name="conflict-give-up"),
    path("subtasks/<str:public_id>/revert/", by_method(reverts.ask, reverts.take_back), name="subtask-revert"),
    path("subtasks/<str:public_id>/cancel/", actions.cancel_subtask, name="subtask-cancel"),
    path("swarms/<str:public_id>/message/", speaking.message_swarm, name="swarm-message"),
    path("subtasks/<str:public_id>/message/", speaking.message_subtask, name="subtask-message"),
    path("questions/<str:public_id>/answer/", speaking.answer_question, name="question-answer"),
    path("artifacts/<str:public_id>/", pages.artifact, name="artifact"),
    path("models/", endpoints.endpoints, name="endpoints"),
    path("models/new/", by_method(endpoints.new_endpoint, endpoints.save_new_endpoint), name="new-endpoint"),
    path("models/<str:public_id>/", by_method(endpoints.edit_endpoint, endpoints.save_endpoint), name="endpoint"),
    path("models/<str:public_id>/test/", endpoints.test_endpoint, name="endpoint-test"),
    path("models/<str:public_id>/switch/", endpoints.switch_endpoint, name="endpoint-switch"),
    path(
        "models/<str:public_id>/remove/",
        by_method(endpoints.ask_removal, endpoints.remove_endpoint),
        name="endpoint-remove",
    ),
    path("repositories/", pages.repositories, name="repositories"),
    path(
        "repositories/new/",
        by_method(repositories.new_repository, repositories.save_new_repository),
        name="new-repository",
    ),
    path("repositories/<str:public_id>/", pages.repository, name="repository"),
    path("repositories/<str:public_id>/queue/", queue_pages.repository_queue, name="repository-queue"),
    path(
        "repositories/<str:public_id>/edit/",
        by_method(repositories.edit_repository, repositories.save_repository),
        name="edit-repository",
    ),
]
