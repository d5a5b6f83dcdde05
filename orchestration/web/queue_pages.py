"""The merge queue's own pages: of a swarm, and of all swarms of a repository."""

from __future__ import annotations

from django.db.models import Sum
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from orchestration.models import Swarm
from orchestration.web.access import SignedIn, repository_of, signed_in, swarm_of
from orchestration.web.queues import RepositoryQueue, SwarmQueue


@signed_in
@require_safe
def swarm_queue(request: SignedIn, public_id: str) -> HttpResponse:
    row = swarm_of(request.user, public_id)
    socket = f"/ws/swarms/{row.public_id}/queue/?after={row.last_seq}"
    return render(request, "swarms/queue.html", {"swarm": row, "queue": SwarmQueue(row), "socket": socket})


@signed_in
@require_safe
def repository_queue(request: SignedIn, public_id: str) -> HttpResponse:
    row = repository_of(request.user, public_id)
    seqs = Swarm.objects.filter(repository=row).aggregate(total=Sum("last_seq", default=0))
    context = {"repository": row, "queue": RepositoryQueue(row)}
    socket = f"/ws/repositories/{row.public_id}/queue/?after={seqs['total']}"
    return render(request, "repositories/queue.html", context | {"socket": socket})
