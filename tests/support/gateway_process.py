"""A coordinator reduced to its meter, as a process of its own that tests can kill.

    python -m tests.support.gateway_process LEDGER PROVIDER LIMIT

Opens a ledger, counts what earlier processes can have spent, and lets 16 external agents call their
model until LIMIT dollars leave no room. Prints its gateway's address.
"""

import asyncio
import contextlib
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import httpx2

from analysis.ledger import Ledger
from islands import events as ev
from islands.records import Usage
from swarm.agents.llm.budget import Budget, BudgetError
from tests.support.doors import APIS, gateway_of, post, settings_of


def usages(ledger):
    """Return the latest usage of each proposal in a ledger."""
    started = [event for event in ledger.events() if isinstance(event, ev.AgentCallStarted)]
    return {event.experiment: event.usage for event in started}


async def main(path, url, limit):
    """Make proposals until the budget has no room for one."""
    with Ledger.open(Path(path), time.time) as ledger:
        before = usages(ledger)
        spent = Usage(usd=sum(usage.usd for usage in before.values()))
        server, numbers = SimpleNamespace(url=url), iter(range(max(before, default=0) + 1, 10**6))

        async def propose_forever(gateway):
            for number in numbers:

                def note(usage, number=number):
                    ledger.append(ev.AgentCallStarted(number, "a", "m", usage))

                api = APIS[number % 3]
                lease = await gateway.open("m", settings_of(server, api), on_usage=note)
                print(lease.url, flush=True)
                for turn in range(2):
                    with contextlib.suppress(httpx2.HTTPError):  # of a stream that is cut
                        await post(lease, api, text=f"proposal {number}, turn {turn}")
                await lease.close()
                if isinstance(lease.failure, BudgetError):
                    return

        async with gateway_of(Budget(max_usd=limit, spent=spent)) as gateway:
            await asyncio.gather(*(propose_forever(gateway) for _ in range(16)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
