"""Swarms from the command line: run, wait, list, show, pause, resume, approve, change, cancel."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from orchestration.domain.errors import InvalidInput, SwarmsiteError
from orchestration.domain.publishing import Landing
from orchestration.domain.states import QuestionStatus
from orchestration.domain.texts import first_line
from orchestration.management import conflicts
from orchestration.management.bootstrap import bootstrap
from orchestration.management.engine import live_holder, running
from orchestration.management.follow import PERSON, SET_UP, as_json, follow, needs
from orchestration.management.migrating import bring_up_to_date
from orchestration.models import Question, Repository, Subtask, Swarm, Team, User
from orchestration.reads.reports import summary, whole
from orchestration.stages import replan, steer
from orchestration.stages.ask import answer
from orchestration.stages.publish import choose, try_again
from orchestration.stages.revert import rests_on, revert
from orchestration.stages.submit import submit
from orchestration.stages.tell import tell_subtask, tell_swarm

NO_ENGINE = "No engine runs for this data directory: add --wait to run one here, or start manage.py up."

STEERING: Mapping[str, Callable[[Swarm, User], None]] = {
    "pause": steer.pause,
    "resume": steer.resume,
    "approve": steer.approve,
    "cancel": steer.cancel,
    "land": try_again,
}


class Command(BaseCommand):
    help = "Run a swarm and look after it."
    requires_system_checks = ()  # of pages and templates, which it does not touch

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="verb", required=True)
        run = commands.add_parser("run", help="hand in a request")
        run.add_argument(
            "--repository", required=True, help="path or URL of a git repository, or a configured one's name"
        )
        run.add_argument("--task", required=True, help="what should be done")
        run.add_argument("--branch", default="", help="start from this branch (default: the repository's own)")
        run.add_argument("--config", default="{}", help="a JSON object of limits, see docs/configuration.md")
        run.add_argument("--check", action="append", help="a check command of the repository; may be given again")
        run.add_argument("--wait", action="store_true", help="follow it to its end; runs an engine where none does")
        _json(run)
        wait = commands.add_parser("wait", help="follow a swarm, or go on with it where no engine runs")
        wait.add_argument("id")
        _json(wait)
        _json(commands.add_parser("list", help="all swarms, newest first"))
        change = commands.add_parser("change", help="change limits, a budget or the deadline while it runs")
        change.add_argument("id")
        change.add_argument("--config", required=True, help=f"a JSON object of {', '.join(replan.LIMITS)}")
        _json(change)
        reply = commands.add_parser("answer", help="answer what an agent asks; ID is the swarm's or the question's")
        reply.add_argument("id")
        reply.add_argument("text")
        _json(reply)
        message = commands.add_parser("message", help="tell the planner and every running agent, or one subtask's")
        message.add_argument("id")
        message.add_argument("text")
        message.add_argument("--subtask", default="", help="the name of the subtask whose agent should read it")
        _json(message)
        settle = commands.add_parser("conflict", help="show a conflict that needs you, and settle it")
        conflicts.describe(settle)
        _json(settle)
        back = commands.add_parser("revert", help="take back what a subtask landed, with what rests on it")
        back.add_argument("id")
        back.add_argument("subtask", help="its name")
        back.add_argument("--yes", action="store_true", help="do it; without it only what would go is shown")
        _json(back)
        for verb in ("show", *STEERING):
            one = commands.add_parser(verb)
            one.add_argument("id")
            if verb == "land":
                ways = [way.value for way in Landing]
                one.add_argument("--to", choices=ways, help="another way, or none: the branch only; without it: again")
            _json(one)

    def handle(self, *args: Any, **options: Any) -> None:
        bring_up_to_date()
        self._json = options["json"]
        try:
            getattr(self, f"_{options['verb']}", self._steer)(options)
        except SwarmsiteError as error:
            self._refuse(str(error))

    def _refuse(self, sentence: str) -> NoReturn:
        """Nothing was begun: the sentence for a person, and for a script the same as JSON."""
        if self._json:
            self.stdout.write(as_json({"id": None, "status": "refused", "status_reason": sentence}))
        raise CommandError(sentence, returncode=SET_UP)

    def _run(self, options: dict[str, Any]) -> None:
        if not options["wait"] and live_holder() is None:
            raise InvalidInput(NO_ENGINE)
        team, operator = bootstrap()
        config = _config(options["config"])
        with transaction.atomic():  # a refused request leaves no repository behind
            repository = repository_for(team, options["repository"], options["check"])
            swarm = submit(operator, repository, options["task"], config, branch=options["branch"])
        if self._json:
            self.stdout.write(as_json({"id": swarm.public_id}))
            self.stdout.flush()
        else:
            self.stderr.write(f"Swarm {swarm.public_id}")
        if options["wait"]:
            self._follow(swarm)

    def _wait(self, options: dict[str, Any]) -> None:
        swarm = find(options["id"])
        if self._json:
            self.stdout.write(as_json({"id": swarm.public_id}))
            self.stdout.flush()
        self._follow(swarm)

    def _follow(self, swarm: Swarm) -> NoReturn:
        if live_holder() is None:
            with running() as engine:
                code = follow(swarm, self._tell, lambda: not engine.failed.is_set())
        else:
            code = follow(swarm, self._tell, lambda: live_holder() is not None)
        for need in needs(swarm) if code == PERSON else ():
            self._tell(need)
        self._print(swarm)
        raise SystemExit(code)

    def _tell(self, line: str) -> None:
        self.stderr.write(line)
        self.stderr.flush()

    def _print(self, swarm: Swarm) -> None:
        result = summary(swarm)
        if self._json:
            self.stdout.write(as_json(result))
            return
        self.stdout.write(f"{result['status'].replace('_', ' ')}: {result['landed']} landed, {result['failed']} failed")
        if result["status_reason"]:
            self.stdout.write(result["status_reason"])
        if result["landed"]:
            self.stdout.write(f"Branch {result['branch']} at {result['head_sha']}")

    def _list(self, options: dict[str, Any]) -> None:
        swarms = Swarm.objects.select_related("repository")
        if self._json:
            self.stdout.write(as_json([summary(swarm) for swarm in swarms]))
            return
        for swarm in swarms:
            self.stdout.write(f"{swarm.public_id}  {swarm.status:18}  {swarm.repository.name}  {swarm.title}")

    def _show(self, options: dict[str, Any]) -> None:
        swarm = find(options["id"])
        if self._json:
            self.stdout.write(as_json(whole(swarm)))
            return
        self._print(swarm)
        for row in swarm.subtasks.all():
            self.stdout.write(f"  {row.status:12}  {row.name}  {row.status_reason or row.wait_reason}")
        for question in swarm.questions.filter(status=QuestionStatus.OPEN):
            offered = f" ({', '.join(question.options)})" if question.options else ""
            self.stdout.write(f"  {question.public_id} asks: {question.text}{offered}")

    def _change(self, options: dict[str, Any]) -> None:
        _, operator = bootstrap()
        swarm = find(options["id"])
        replan.change_limits(swarm, operator, **_config(options["config"]))
        self._print(swarm)

    def _answer(self, options: dict[str, Any]) -> None:
        _, operator = bootstrap()
        question = find_question(options["id"])
        answer(question, operator, options["text"])
        self._print(question.swarm)

    def _message(self, options: dict[str, Any]) -> None:
        _, operator = bootstrap()
        swarm = find(options["id"])
        if options["subtask"]:
            tell_subtask(find_subtask(swarm, options["subtask"]), operator, options["text"])
        else:
            tell_swarm(swarm, operator, options["text"])
        self._print(swarm)

    def _conflict(self, options: dict[str, Any]) -> None:
        _, operator = bootstrap()
        swarm = find(options["id"])
        entry = conflicts.find_conflict(swarm, options["subtask"])
        if done := conflicts.act(entry, operator, options):
            goes_on = "" if live_holder() else f" `manage.py swarm wait {swarm.public_id}` goes on with it."
            self._tell(done + goes_on)
            self._print(swarm)
        elif self._json:
            self.stdout.write(as_json(conflicts.as_facts(entry)))
        else:
            self.stdout.write("\n".join(conflicts.as_text(entry)))

    def _revert(self, options: dict[str, Any]) -> None:
        _, operator = bootstrap()
        subtask = find_subtask(find(options["id"]), options["subtask"])
        names = [subtask.name, *(one.name for one in rests_on(subtask))]
        made = revert(subtask, operator) if options["yes"] else None
        if self._json:
            self.stdout.write(as_json({"reverts": names, "subtask": made.name if made else None}))
        elif made:
            self.stdout.write(f"{made.name} is in the merge queue; it takes back {', '.join(names)}.")
            self.stdout.write(f"Follow it with `manage.py swarm wait {made.swarm.public_id}`.")
        else:
            self.stdout.write(f"This would take back {', '.join(names)}. Add --yes to do it.")

    def _steer(self, options: dict[str, Any]) -> None:
        _, operator = bootstrap()
        swarm = find(options["id"])
        if options.get("to"):
            choose(swarm, operator, Landing(options["to"]))
        else:
            STEERING[options["verb"]](swarm, operator)
        self._print(swarm)


def _json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _config(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"--config is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise InvalidInput('--config must be a JSON object, such as {"max_subagents": 8}.')
    return value


def find(public_id: str) -> Swarm:
    swarm = Swarm.objects.select_related("repository", "endpoint").filter(public_id=public_id).first()
    if swarm is None:
        raise InvalidInput(f"There is no swarm {public_id!r}; `manage.py swarm list` names them.")
    return swarm


def find_subtask(swarm: Swarm, name: str) -> Subtask:
    subtask = swarm.subtasks.select_related("swarm__repository__team").filter(name=name).first()
    if subtask is None:
        raise InvalidInput(f"The swarm has no subtask {name!r}; `manage.py swarm show {swarm.public_id}` names them.")
    return subtask


def find_question(public_id: str) -> Question:
    """By its own id, or by its swarm's where that asks only one."""
    rows = Question.objects.select_related("swarm__repository__team").order_by("pk")
    question = rows.filter(public_id=public_id).first()
    if question:
        return question
    swarm = find(public_id)
    waiting = list(rows.filter(swarm=swarm, status=QuestionStatus.OPEN))
    if len(waiting) == 1:
        return waiting[0]
    if not waiting:
        raise InvalidInput(f"No agent of the swarm {public_id} asks anything.")
    listed = "; ".join(f"{one.public_id}: {first_line(one.text, 80)}" for one in waiting)
    raise InvalidInput(f"{len(waiting)} questions are open. Answer each by its own id: {listed}.")


def repository_for(team: Team, given: str, checks: list[str] | None) -> Repository:
    """The configured repository of that name or address, or a new row: a path on the command line counts as listed."""
    rows = Repository.objects.filter(team=team)
    remote = ":" in given.split("/", 1)[0]
    url = given if remote else str(Path(given).expanduser().resolve())
    row = rows.filter(name=given).first() or rows.filter(url=url).first()
    if row is None:
        row = Repository(team=team, name=_free_name(team, url), url=url, path_allowed=not remote)
    row.checks = row.checks if checks is None else checks
    row.save()
    return row


def _free_name(team: Team, url: str) -> str:
    base = url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git")[:60] or "repository"
    taken = set(Repository.objects.filter(team=team).values_list("name", flat=True))
    return next(
        name for number in range(1, 10_000) if (name := base if number == 1 else f"{base}-{number}") not in taken
    )
