"""Rates and budgets: the rate limiter on virtual time, rate-limit headers, reservations."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from islands.records import Usage
from swarm.agents.llm.budget import Budget, BudgetError
from swarm.agents.llm.rate_limiter import PausedError, RateLimiter, RateLimits
from swarm.agents.llm.retry_after import MAX_WAIT_S, quota_reset_s, retry_after_s
from swarm.simulation.virtual_time import run_virtual

DATE = {"date": "Wed, 21 Oct 2026 07:28:00 GMT"}


def begin_times(limiter, calls, seconds=0.0):
    """Return when each of `calls` concurrent calls of `seconds` began, on virtual time."""

    async def call():
        async with limiter.acquire() as began:
            await asyncio.sleep(seconds)
            return began

    async def main():
        zero = asyncio.get_running_loop().time()
        return sorted(t - zero for t in await asyncio.gather(*(call() for _ in range(calls))))

    return run_virtual(main())


def test_no_minute_holds_more_requests_than_were_set():
    """At 10 a minute, 35 requests start in bursts of 10, a minute apart."""
    began = begin_times(RateLimiter(RateLimits(requests_per_minute=10)), 35)
    assert began == [0.0] * 10 + [60.0] * 10 + [120.0] * 10 + [180.0] * 5


def test_no_more_requests_are_in_flight_than_were_set():
    """Seven requests of 5 s with three slots start three at a time."""
    began = begin_times(RateLimiter(RateLimits(1000, max_concurrent=3)), 7, seconds=5.0)
    assert began == [0.0] * 3 + [5.0] * 3 + [10.0]


def test_a_shared_key_has_the_slowest_rate_that_was_set_for_it():
    """A limiter accepts a lower rate and ignores a higher one."""
    limiter = RateLimiter(RateLimits(50))
    limiter.limit_rate(5)
    limiter.limit_rate(500)
    assert limiter.requests_per_minute == 5


def test_all_callers_wait_out_a_pause_and_return_spread():
    """After `Retry-After: 30` no request starts before 30 s, and no two at the same instant."""

    async def main():
        limiter = RateLimiter(RateLimits(1000), seed=3)
        async with limiter.acquire() as began:
            limiter.back_off(began, 30.0)

        async def call():
            async with limiter.acquire() as then:
                return then - began

        return await asyncio.gather(*(call() for _ in range(8)))

    waits = run_virtual(main())
    assert min(waits) >= 30.0
    assert max(waits) <= 45.0
    assert len(set(waits)) == 8


def pauses(limiter, rounds, callers):
    """Return how long each of `rounds` pauses was when `callers` were turned away together."""

    async def main():
        loop, found = asyncio.get_running_loop(), []
        for _ in range(rounds):
            began = []
            for _ in range(callers):
                async with limiter.acquire() as then:
                    began.append(then)
            await asyncio.sleep(0.1)
            for then in began:
                limiter.back_off(then, None)
            found.append(limiter._resume_at - loop.time())
        return found

    return run_virtual(main())


def test_pauses_double_once_for_all_that_were_rejected_together():
    """Sixteen 429s of one pause make the next twice as long, not 65,536 times."""
    pace = RateLimits(100_000, first_pause_s=1.0, longest_pause_s=60.0)
    found = pauses(RateLimiter(pace), rounds=8, callers=16)
    whole = [1, 2, 4, 8, 16, 32, 60, 60]
    assert all(w / 2 <= pause <= w for pause, w in zip(found, whole, strict=True))


def test_one_seed_gives_one_jitter():
    """Two limiters of one seed pause alike, one of another seed does not."""
    runs = [pauses(RateLimiter(RateLimits(1000), seed), 4, 2) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_a_success_after_the_pause_makes_the_next_one_short_again():
    """A reply to a request sent before the pause does not reset it, one sent after it does."""

    async def main():
        limiter = RateLimiter(RateLimits(1000, first_pause_s=8.0))
        for _ in range(3):
            async with limiter.acquire() as began:
                pass
            await asyncio.sleep(0.1)
            limiter.back_off(began, None)
        limiter.record_success(began)
        stale = limiter._overloads
        async with limiter.acquire() as later:
            limiter.record_success(later)
        return stale, limiter._overloads

    assert run_virtual(main()) == (3, 0)


def test_a_pause_beyond_the_maximum_is_raised_at_once():
    """A pause of an hour is not waited out: PausedError carries its length."""

    async def main():
        limiter = RateLimiter(RateLimits(1000, max_pause_s=300.0))
        limiter.pause(3600.0)
        with pytest.raises(PausedError) as paused:
            async with limiter.acquire():
                pytest.fail("no request may start")
        return paused.value.seconds

    assert run_virtual(main()) == 3600.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", **DATE}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:30 GMT", **DATE}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "soon", **DATE}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "999999999"}, MAX_WAIT_S),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date_against_the_servers_own(headers, seconds):
    """Both forms of RFC 9110, milliseconds first; unreadable ones ignored; at most a day."""
    assert retry_after_s(headers) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m30s"}, 90.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "1m"}, 0.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "later"}, 0.0),
        (
            {
                "anthropic-ratelimit-input-tokens-remaining": "0",
                "anthropic-ratelimit-input-tokens-reset": "2026-10-21T07:28:12Z",
                **DATE,
            },
            12.0,
        ),
    ],
)
def test_an_exhausted_quota_is_waited_for_until_its_reset(headers, seconds):
    """Both providers' headers, and only those with zero remaining."""
    assert quota_reset_s(headers) == seconds


NAMES = st.sampled_from(
    [
        *("retry-after", "retry-after-ms", "date", "anthropic-ratelimit-tokens-remaining"),
        *("anthropic-ratelimit-tokens-reset", "x-ratelimit-remaining-tokens"),
        "x-ratelimit-reset-tokens",
    ]
)
VALUES = st.one_of(
    st.text(), st.sampled_from(["0", "1e9", "9" * 400, "1h1m", "+inf", *DATE.values()])
)


@given(st.dictionaries(NAMES, VALUES))
def test_no_header_raises_or_asks_for_more_than_a_day(headers):
    """Any header text gives a bounded number."""
    assert 0.0 <= (retry_after_s(headers) or 0.0) <= MAX_WAIT_S
    assert 0.0 <= quota_reset_s(headers) <= MAX_WAIT_S


def spend(budget, usd, actual=None, seconds=1.0):
    """Return a simulated request that may cost `usd` and costs `actual` (None: unknown)."""

    async def call():
        async with budget.reserve(usd, 10) as held:
            held.start()
            await asyncio.sleep(seconds)
            if actual is not None:
                held.settle(actual, 1)

    return call()


def test_what_is_reserved_and_spent_never_passes_the_limit():
    """Eight requests that may cost 0.3 and cost 0.1 share one dollar: 3, 2, 1, 1, 1 at a time."""

    async def main():
        budget, loop = Budget(max_usd=1.0), asyncio.get_running_loop()
        await asyncio.gather(*(spend(budget, 0.3, 0.1) for _ in range(8)))
        return budget.spent_usd, budget.spent_tokens, loop.time()

    spent, tokens, seconds = run_virtual(main())
    assert (spent, tokens) == (0.8, 8)
    assert seconds == 5.0


def test_a_request_that_can_never_fit_is_refused():
    """With 0.9 of 1 spent, a request that may cost 0.2 is refused, one of 0.1 is not."""

    async def main():
        budget = Budget(max_usd=1.0, spent=Usage(usd=0.9))
        with pytest.raises(BudgetError, match=r"0\.9000 of 1\.0 dollars are spent"):
            await spend(budget, 0.2, 0.0)
        await spend(budget, 0.1)
        return budget.spent_usd

    assert run_virtual(main()) == 1.0


def test_a_waiting_call_is_refused_once_the_others_have_spent_what_it_needs():
    """A request waits while dollars are reserved, and is refused once they are spent."""

    async def main():
        budget = Budget(max_usd=1.0)
        holder = asyncio.create_task(spend(budget, 0.8))
        await asyncio.sleep(0)
        with pytest.raises(BudgetError):
            await spend(budget, 0.5)
        return await holder, asyncio.get_running_loop().time()

    assert run_virtual(main())[1] == 1.0


def test_a_cancelled_call_costs_its_worst_and_one_that_never_began_costs_nothing():
    """Cancelled after its start, a request costs its maximum; before it, nothing."""

    async def main():
        budget = Budget(max_usd=1.0)
        for begin in (False, True):

            async def call(begin=begin):
                async with budget.reserve(0.4, 100) as held:
                    if begin:
                        held.start()
                    await asyncio.sleep(60)

            task = asyncio.create_task(call())
            await asyncio.sleep(1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return budget.spent_usd, budget.spent_tokens

    assert run_virtual(main()) == (0.4, 100)


def test_tokens_have_a_limit_of_their_own():
    """A limit in tokens refuses as a limit in dollars does."""

    async def main():
        budget = Budget(max_tokens=15)
        await spend(budget, 5.0)
        with pytest.raises(BudgetError, match="10 of 15 tokens"):
            await spend(budget, 0.0)

    run_virtual(main())


@given(st.integers(0, 2**32), st.floats(0.001, 5.0), st.integers(1, 40))
def test_no_order_of_concurrent_calls_overshoots(seed, limit, calls):
    """Random prices, durations, settlements and cancellations: spent stays within the limit."""
    draw = random.Random(seed)

    async def main():
        budget = Budget(max_usd=limit)

        async def one():
            await asyncio.sleep(draw.uniform(0, 3))
            worst = draw.uniform(0, limit)
            actual = draw.choice([None, 0.0, worst, worst * draw.random()])
            async with asyncio.timeout(draw.uniform(0, 3)):
                await spend(budget, worst, actual, draw.uniform(0, 3))

        done = await asyncio.gather(*(one() for _ in range(calls)), return_exceptions=True)
        assert all(isinstance(e, None | TimeoutError | BudgetError) for e in done)
        assert budget._reserved.nano == 0
        return budget.spent_usd

    assert run_virtual(main()) <= limit
