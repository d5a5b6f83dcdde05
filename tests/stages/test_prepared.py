"""Prepared statements say what Django's own say, for other values than those that they were compiled with."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, F, OuterRef
from django.db.models.sql.compiler import SQLCompiler
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orchestration.models import Attempt, Event, ModelCall, Step, Subtask, Swarm
from orchestration.models.prepared import MOST_SHAPES, PreparedRead, PreparedRows, PreparedUpdate, create, insert
from tests.factories import make_attempt, make_subtask, make_swarm

pytestmark = pytest.mark.django_db


def test_a_read_gives_what_the_queryset_gives_for_every_value_that_it_is_asked_with():
    named = PreparedRead(lambda swarm, name: Subtask.objects.filter(swarm=swarm, name=name).values_list("pk", "name"))
    swarms = [make_swarm(), make_swarm()]
    rows = {(swarm.pk, name): make_subtask(swarm, name=name) for swarm in swarms for name in ("one", "two")}
    for (swarm, name), row in rows.items():
        assert named(swarm=swarm, name=name) == [(row.pk, name)]
    assert named(swarm=swarms[0].pk, name="three") == []


def test_what_the_database_keeps_otherwise_comes_back_as_python_has_it():
    swarm = make_swarm(config={"slots": 3}, cost_usd=Decimal("1.25"), tokens=7)
    facts = ("config", "cost_usd", "tokens", "created_at", "repository__monthly_budget_usd")
    read = PreparedRead(lambda pk: Swarm.objects.filter(pk=pk).values_list(*facts))
    assert read(pk=swarm.pk) == list(Swarm.objects.filter(pk=swarm.pk).values_list(*facts))


def test_moments_are_compared_as_moments():
    swarm, hour = make_swarm(), timedelta(hours=1)
    since = PreparedRead(lambda at: Swarm.objects.filter(created_at__gt=at).values_list("pk"))
    assert since(at=swarm.created_at - hour) == [(swarm.pk,)]
    assert since(at=swarm.created_at + hour) == []


def test_none_is_another_statement_than_a_value():
    swarm = make_swarm()
    whole = make_subtask(swarm)
    part = make_subtask(swarm, parent=whole)
    below = PreparedRead(lambda parent: Subtask.objects.filter(parent=parent).values_list("pk"))
    assert below(parent=whole.pk) == [(part.pk,)]
    assert below(parent=None) == [(whole.pk,)]
    assert below(parent=part.pk) == []


def test_a_list_may_have_another_length_each_time():
    swarm = make_swarm()
    rows = [make_subtask(swarm).pk for _ in range(4)]
    these = PreparedRead(lambda pks: Subtask.objects.filter(pk__in=pks).order_by("pk").values_list("pk", flat=True))
    for length in (1, 3, 4, 2):
        assert these(pks=rows[:length]) == [(pk,) for pk in rows[:length]]
    assert these(pks=[rows[0], rows[0]]) == [(rows[0],)]


def test_a_question_inside_a_question_keeps_its_values_apart():
    swarm = make_swarm()
    subtasks = [make_subtask(swarm) for _ in range(2)]
    make_attempt(subtasks[1], number=3)
    numbered = PreparedRead(
        lambda swarm, number: (
            Subtask.objects.filter(Exists(Attempt.objects.filter(subtask=OuterRef("pk"), number=number)), swarm=swarm)
            .order_by("pk")
            .values_list("pk")
        )
    )
    assert numbered(number=3, swarm=swarm.pk) == [(subtasks[1].pk,)]
    assert numbered(number=swarm.pk + 3, swarm=3 + swarm.pk) == []


def test_an_update_changes_the_rows_it_names_and_says_how_many():
    mine, other = (make_attempt(steps=0, tokens=0, cost_usd=0, doing="") for _ in range(2))
    spend = PreparedUpdate(
        lambda pk, tokens, usd, doing, at: (
            Attempt.objects.filter(pk=pk),
            {
                "steps": F("steps") + 1,
                "tokens": F("tokens") + tokens,
                "cost_usd": F("cost_usd") + usd,
                "doing": doing,
                "last_sign_at": at,
            },
        )
    )
    now = timezone.now()
    for usd in ("0.000001", "2.5"):
        assert spend(pk=mine.pk, tokens=12, usd=Decimal(usd), doing=f"it's {usd}; --", at=now) == 1
    assert spend(pk=other.pk + 1000, tokens=1, usd=Decimal(1), doing="", at=now) == 0
    mine.refresh_from_db()
    assert (mine.steps, mine.tokens, mine.cost_usd) == (2, 24, Decimal("2.500001"))
    assert (mine.doing, mine.last_sign_at) == ("it's 2.5; --", now)
    other.refresh_from_db()
    assert (other.steps, other.doing) == (0, "")


def test_an_update_may_tell_what_a_column_is_then():
    swarm, other = make_swarm(last_seq=5), make_swarm(last_seq=1)
    count = PreparedUpdate(
        lambda pks, more: (Swarm.objects.filter(pk__in=pks), {"last_seq": F("last_seq") + more}), tells="last_seq"
    )
    assert count.told(pks=[swarm.pk], more=2) == [7]
    assert sorted(count.told(pks=[swarm.pk, other.pk], more=3)) == [4, 10]
    assert count.told(pks=[other.pk + 1000], more=1) == []
    assert list(Swarm.objects.order_by("pk").values_list("last_seq", flat=True)) == [10, 4]


def test_rows_come_as_models_with_what_was_selected_with_them():
    swarm = make_swarm(config={"slots": 3}, cost_usd=Decimal("1.25"))
    whole = make_subtask(swarm, name="whole", scope=["a/*"])
    part = make_subtask(swarm, name="part", parent=whole)
    read = PreparedRows(
        lambda swarm: Subtask.objects.filter(swarm=swarm).select_related("swarm__repository", "parent").order_by("pk")
    )
    read(swarm=swarm.pk + 1)
    with CaptureQueriesContext(connection) as asked:
        rows = read(swarm=swarm.pk)
        assert [(row.name, row.parent and row.parent.name) for row in rows] == [("whole", None), ("part", "whole")]
        assert rows[0].swarm.repository.name == swarm.repository.name
        assert (rows[0].swarm.config, rows[0].swarm.cost_usd) == ({"slots": 3}, Decimal("1.25"))
    assert len(asked) == 1
    assert rows == [whole, part]
    for row in rows:
        fresh = Subtask.objects.get(pk=row.pk)
        assert all(getattr(row, one.attname) == getattr(fresh, one.attname) for one in Subtask._meta.concrete_fields)
    rows[1].name = "renamed"
    rows[1].save()
    assert Subtask.objects.filter(parent=whole, name="renamed").exists()


def test_what_is_deferred_is_read_when_it_is_asked_for():
    subtask = make_subtask(make_swarm(clashes=[{"a": 1}]), scope=["a/*"])
    read = PreparedRows(
        lambda pk: Subtask.objects.filter(pk=pk).select_related("swarm").defer("instruction", "swarm__clashes")
    )
    row = read.one(pk=subtask.pk)
    with CaptureQueriesContext(connection) as asked:
        assert (row.name, row.scope, row.swarm.title) == (subtask.name, ["a/*"], subtask.swarm.title)
    assert not asked.captured_queries
    assert (row.instruction, row.swarm.clashes) == (subtask.instruction, [{"a": 1}])


def test_a_row_that_is_not_there_is_told_as_django_does():
    read = PreparedRows(lambda pk: Swarm.objects.filter(pk=pk).select_related("repository"))
    swarm = make_swarm()
    assert read.one(pk=swarm.pk) == swarm
    with pytest.raises(Swarm.DoesNotExist, match=r"There is no such Swarm\."):
        read.one(pk=swarm.pk + 1)


def test_lists_of_every_length_do_not_fill_the_memory():
    rows = [make_subtask(make_swarm()).pk]
    these = PreparedRead(lambda pks: Subtask.objects.filter(pk__in=pks).values_list("pk"))
    for length in range(1, 3 * MOST_SHAPES):
        assert these(pks=rows * length) == [(rows[0],)]
    assert len(these._statements) <= MOST_SHAPES


def test_what_a_statement_does_not_use_is_a_mistake_that_is_told():
    idle = PreparedRead(lambda pk, name: Subtask.objects.filter(pk=pk).values_list("pk"))
    with pytest.raises(ValueError, match=r"makes no use of name, or changes it first\."):
        idle(pk=1, name="x")
    changed = PreparedRead(lambda pk: Subtask.objects.filter(pk=pk + 1).values_list("pk"))
    with pytest.raises(ValueError, match="makes no use of pk"):
        changed(pk=1)


class Pair(NamedTuple):
    one: int
    two: int


@pytest.mark.parametrize("value", [True, 1.5, {"a": 1}, Pair(1, 2)])
def test_a_value_that_cannot_be_told_from_others_is_refused(value: Any):
    with pytest.raises(TypeError, match="A prepared statement takes no"):
        PreparedRead(lambda one: Subtask.objects.filter(pk=one).values_list("pk"))(one=value)


def test_it_is_compiled_once(monkeypatch: pytest.MonkeyPatch):
    compiled, real = [], SQLCompiler.as_sql

    def as_sql(self: Any, *args: Any, **kwargs: Any) -> Any:
        compiled.append(self)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(SQLCompiler, "as_sql", as_sql)
    read = PreparedRead(lambda pk: Subtask.objects.filter(pk=pk).values_list("pk"))
    for pk in range(5):
        read(pk=pk)
    assert len(compiled) == 1


def test_it_asks_the_database_each_time_and_inside_the_transaction_of_its_caller():
    subtask = make_subtask()
    rename = PreparedUpdate(lambda pk, name: (Subtask.objects.filter(pk=pk), {"name": name}))
    read = PreparedRead(lambda pk: Subtask.objects.filter(pk=pk).values_list("name"))
    with transaction.atomic():
        rename(pk=subtask.pk, name="other")
        assert read(pk=subtask.pk) == [("other",)]
        transaction.set_rollback(True)
    assert read(pk=subtask.pk) == [(subtask.name,)]


def test_a_lock_is_part_of_a_statement():
    subtask = make_subtask()
    lock = PreparedRead(lambda pk: Subtask.objects.select_for_update(no_key=True).filter(pk=pk).values_list("pk"))
    with transaction.atomic(), CaptureQueriesContext(connection) as asked:
        assert lock(pk=subtask.pk) == lock(pk=subtask.pk) == [(subtask.pk,)]
    expected = 2 if connection.features.has_select_for_update else 0
    assert sum("FOR NO KEY UPDATE" in one["sql"] for one in asked) == expected


def test_rows_are_inserted_as_they_would_be_saved():
    attempt = make_attempt()
    swarm = attempt.subtask.swarm
    steps = [
        Step(attempt=attempt, number=number, turn=1, tool="bash", arguments={"command": "it's %s"}, text="ü", ok=ok)
        for number, ok in ((1, True), (2, False))
    ]
    with CaptureQueriesContext(connection) as asked:
        insert(steps)
    assert len(asked) == 1
    expected = [(one.number, one.arguments, one.text, one.ok, one.duration_ms) for one in steps]
    assert list(attempt.transcript.values_list("number", "arguments", "text", "ok", "duration_ms")) == expected
    usd = Decimal("0.5")
    insert([ModelCall(swarm=swarm, attempt=attempt, endpoint=swarm.endpoint, cost_usd=usd, purpose="worker")])
    call = ModelCall.objects.get()
    assert (call.cost_usd, call.attempt, call.swarm) == (usd, attempt, swarm)
    assert timezone.now() - call.at < timedelta(minutes=1)
    insert([])
    assert Event.objects.count() == 0


def test_one_that_is_created_is_as_it_would_be_saved_and_knows_its_key():
    subtask, now = make_subtask(), timezone.now()
    made = create(Attempt(subtask=subtask, number=2, cost_usd=Decimal("1.5"), lease_expires_at=now, doing="it's %s"))
    fresh = Attempt.objects.get(pk=made.pk)
    assert all(getattr(made, one.attname) == getattr(fresh, one.attname) for one in Attempt._meta.concrete_fields)
    assert fresh.created_at >= now
    made.doing = "changed"
    made.save()
    assert list(subtask.attempts.values_list("doing", flat=True)) == ["changed"]
    with pytest.raises(IntegrityError), transaction.atomic():
        create(Attempt(subtask=subtask, number=2))
    assert create(Attempt(subtask=make_subtask(), number=2)).pk != made.pk
