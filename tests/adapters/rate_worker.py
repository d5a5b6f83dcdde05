"""A worker process of its own, for test_rate_limits.py: so many callers at once, each with so many calls."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import django


def main(told: dict[str, Any]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "swarmsite.settings")
    django.setup()
    from orchestration.adapters.cancellation import Cancellation
    from orchestration.adapters.gateway import RetryPolicy, get_gateway
    from orchestration.domain.conversation import Endpoint, Message

    hello = Message("user", told["says"])
    endpoint, patience = Endpoint(**told["endpoint"]), RetryPolicy(**told["patience"])
    gateway = get_gateway()

    def work(_: int) -> list[str]:
        options: dict[str, Any] = {"purpose": "test", "cancellation": Cancellation(), "timeout_s": 300.0}
        options |= {"retries": patience}
        return [gateway.complete(endpoint, [hello], [], **options).text for _ in range(told["calls"])]

    with ThreadPoolExecutor(told["callers"]) as threads:
        texts = [text for each in threads.map(work, range(told["callers"])) for text in each]
    gateway.close()
    sys.stdout.write(json.dumps(texts))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
