"""Who asks which endpoint, and that what answered is what is booked."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from orchestration.domain.endpoints import ModelRole
from orchestration.models import ModelCall, ModelEndpoint, Swarm
from orchestration.stages.accounting import book
from orchestration.stages.rows import endpoint_for
from tests import factories
from tests.stages.replies import reply

pytestmark = pytest.mark.django_db


def asked(swarm: Swarm, role: ModelRole = ModelRole.WORKER) -> list[str]:
    first = endpoint_for(swarm, role)
    return [first.name, *(one.name for one in first.alternatives)]


@pytest.fixture
def swarm() -> Swarm:
    repository = factories.make_repository()
    own = factories.make_endpoint(repository.team, name="own", weight=1)
    return factories.make_swarm(repository, endpoint=own)


def add(swarm: Swarm, name: str, **fields: object) -> ModelEndpoint:
    return factories.make_endpoint(swarm.repository.team, name=name, **fields)


def test_the_swarms_own_comes_first_and_the_teams_others_by_weight(swarm: Swarm):
    add(swarm, "light", weight=2)
    add(swarm, "heavy", weight=50)
    add(swarm, "off", enabled=False)
    factories.make_endpoint(name="of another team")
    assert asked(swarm) == ["own", "heavy", "light"]


def test_the_demos_model_stands_beside_no_real_one_and_no_real_one_beside_it(swarm: Swarm):
    demo = add(swarm, "demo", is_demo=True)
    add(swarm, "real")
    assert asked(swarm) == ["own", "real"]
    swarm.endpoint = demo
    assert asked(swarm) == ["demo"]


def test_an_endpoint_that_is_kept_for_a_role_serves_it_first_and_no_other(swarm: Swarm):
    add(swarm, "thinker", roles="planner, subplanner")
    assert asked(swarm, ModelRole.PLANNER) == ["thinker", "own"]
    assert asked(swarm, ModelRole.SUBPLANNER) == ["thinker", "own"]
    assert asked(swarm, ModelRole.WORKER) == ["own"]


def test_the_model_that_was_named_serves_the_workers_first(swarm: Swarm):
    add(swarm, "busy", roles="worker, planner")
    assert asked(swarm) == ["busy", "own"]
    swarm.config |= {"model": "own/large-1"}
    assert asked(swarm) == ["own", "busy"]
    assert asked(swarm, ModelRole.PLANNER) == ["busy", "own"]


def test_where_nobody_may_be_used_the_swarms_own_is(swarm: Swarm):
    ModelEndpoint.objects.filter(pk=swarm.endpoint_id).update(roles="planner")
    swarm.endpoint.refresh_from_db()
    assert asked(swarm) == ["own"]


def test_the_delay_of_the_configuration_reaches_the_limiter(swarm: Swarm):
    swarm.config |= {"request_delay_ms": 250}
    assert endpoint_for(swarm, ModelRole.WORKER).request_delay_ms == 250


def test_an_unknown_role_is_refused_in_the_admin(swarm: Swarm):
    endpoint = add(swarm, "odd", roles="boss")
    with pytest.raises(ValidationError, match="no role boss"):
        endpoint.full_clean()


def test_the_call_names_what_answered(swarm: Swarm):
    other = add(swarm, "other")
    attempt = factories.make_attempt(factories.make_subtask(swarm))
    book(swarm, reply(endpoint_id=other.public_id, detour="own refused the key."), on=attempt)
    book(swarm, reply(endpoint_id="gone"), on=attempt)
    calls = ModelCall.objects.filter(swarm=swarm)
    assert [(call.endpoint, call.detour) for call in calls] == [(other, "own refused the key."), (swarm.endpoint, "")]
