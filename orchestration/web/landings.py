"""The way of a swarm's result out of here, on its page, and what people do about it."""

from __future__ import annotations

from functools import cached_property

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from orchestration.domain.errors import InvalidInput
from orchestration.domain.publishing import Landing
from orchestration.domain.rights import Action
from orchestration.domain.states import PUBLICATION_OPEN, PublicationStatus
from orchestration.models import Publication, Swarm
from orchestration.stages.publish import choose, try_again
from orchestration.web.access import SignedIn, signed_in, swarm_of

WORDS = {
    Landing.NONE: "stays on the swarm's branch",
    Landing.DIRECT: "is pushed onto the branch itself",
    Landing.PULL_REQUEST: "becomes a pull request",
}


class Outlook:
    """Asks the database only where the result is to leave."""

    def __init__(self, swarm: Swarm, *, may_steer: bool) -> None:
        self._swarm = swarm
        self._may_steer = may_steer

    @property
    def leaves(self) -> bool:
        return Landing(self._swarm.config.get("landing") or Landing.NONE) is not Landing.NONE

    @cached_property
    def row(self) -> Publication | None:
        return Publication.objects.filter(swarm=self._swarm).first() if self.leaves else None

    @property
    def words(self) -> str:
        mode = self.row.mode if self.row else self._swarm.config["landing"]
        return f"The result {WORDS[Landing(mode)]} when every check has passed on it."

    @property
    def may_try(self) -> bool:
        tried = {PublicationStatus.WAITING.value, PublicationStatus.REFUSED.value}
        return bool(self._may_steer and self.row and self.row.status in tried)

    @property
    def may_choose(self) -> bool:
        still = {one.value for one in PUBLICATION_OPEN - {PublicationStatus.PUSHING}}
        return bool(self._may_steer and self.row and self.row.status in still)


@signed_in
@require_POST
def land(request: SignedIn, public_id: str) -> HttpResponse:
    """Again at once, or in another way."""
    swarm = swarm_of(request.user, public_id, Action.STEER)
    wanted = request.POST.get("to", "again")
    try:
        if wanted == "again":
            try_again(swarm, request.user)
        elif wanted in set(Landing):
            choose(swarm, request.user, Landing(wanted))
        else:
            raise InvalidInput("Choose how the result should land: again, direct, pull_request or none.")
    except InvalidInput as error:
        messages.error(request, str(error))
    return redirect("swarm", swarm.public_id)
