"""One call through the gateway: what the provider gets, what the agent gets, what is recorded."""

import asyncio

import pytest

from islands.records import Usage
from swarm.agents.llm.settings import Tokens
from tests.support.doors import APIS, gateway_of, post, settings_of
from tests.support.language_models import PRICE
from tests.support.loopback import KEY, Say


def through(server, api, make, budget=None, **settings):
    """Run `make(lease)`; return its result, the lease and the recorded calls."""

    async def main():
        calls = []
        async with gateway_of(budget, calls.append) as gateway:
            lease = await gateway.open("m", settings_of(server, api, **settings), experiment=7)
            result = await make(lease)
            await lease.close()
            return result, lease, calls

    return asyncio.run(main())


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("api", APIS)
def test_the_model_is_pinned_the_output_bounded_and_every_token_counted(server, api, stream):
    """The provider gets its key, the agent the answer, the record the provider's own counts."""
    server.play([Say("a better way", cached=20, wrote=10)])
    answer, lease, [call] = through(server, api, lambda lease: post(lease, api, stream=stream))
    [served] = server.log
    assert answer.status_code == 200
    assert "a better way" in answer.text
    assert served.request.key == KEY
    assert served.request.body["model"] == "some-model"
    assert served.request.max_output == 8192
    assert (call.tokens_in, call.tokens_out) == (served.tokens_in, served.tokens_out)
    assert (call.tokens_cached, call.tokens_untold, call.status) == (20, 0, 200)
    usd = PRICE.usd(Tokens(served.tokens_in - 30, served.tokens_out, 20, 10))
    assert call.usd == lease.usage.usd == pytest.approx(usd)
    assert (call.agent, call.model, call.experiment) == ("m", "some-model", 7)
    assert lease.usage == Usage(1, served.tokens_in, served.tokens_out, call.usd)
    if api == "chat" and stream:
        assert "usage" not in answer.text  # the client did not ask for it
        assert answer.text.endswith("data: [DONE]\n\n")
