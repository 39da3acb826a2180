"""A ChatGPT login of Codex pays for its calls, and no agent is shown it."""

import asyncio
import json

import pytest

from harness.contract import SetupError
from swarm.agents.external.probe import ask_for_a_word
from swarm.agents.llm.login import CHATGPT_URL, read_login
from swarm.project.schema.agents import ExternalSection
from tests.support.doors import PATHS, body_of, client_of, gateway_of, settings_of
from tests.support.loopback import KEY, Say, Status


def file_with(folder, text):
    """Write a login file; return its path."""
    path = folder / "auth.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return str(path)


@pytest.fixture
def login(tmp_path):
    """A login as `codex login` writes it."""
    tokens = {"id_token": "i", "access_token": KEY, "refresh_token": "r", "account_id": "acc-1"}
    return file_with(tmp_path, {"OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": "x"})


def asked(server, settings, headers):
    """Return the answer to one call of Codex through the gateway, and the lease's failure."""

    async def main():
        async with gateway_of() as gateway:
            lease = await gateway.open("m", settings)
            await ask_for_a_word(lease.url, lease.token, "responses", stream=True)
            async with client_of(lease) as client:
                body = body_of("responses", max_output_tokens=99)
                answer = await client.post(PATHS["responses"], json=body, headers=headers)
                return answer, lease.failure

    return asyncio.run(main())


def test_its_token_and_account_are_sent_and_never_shown(server, login, monkeypatch):
    """With the headers by which ChatGPT knows Codex, and without the parameter it refuses."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    settings = settings_of(server, "responses", login=login, api_key_env="", price=None)
    own = {"originator": "codex_exec", "chatgpt-account-id": "forged", "cookie": "c"}
    server.play([Say(f"done {KEY}"), Status(401, message="expired")])
    answer, _ = asked(server, settings, own)
    assert answer.status_code == 200
    assert KEY not in answer.text
    sent = server.headers
    assert (sent["authorization"], sent["chatgpt-account-id"]) == (f"Bearer {KEY}", "acc-1")
    assert sent["originator"] == "codex_exec"
    assert "cookie" not in sent
    body = server.log[-1].request.body
    assert (body["store"], body["stream"]) == (False, True)
    assert "max_output_tokens" not in body
    server.play([Status(401, message="expired")])
    _, failure = asked(server, settings, own)
    assert "run `codex login`" in str(failure)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 99_999,
        {"tokens": None},
        {"tokens": {"access_token": ""}},
        {"tokens": {"access_token": "a\nb"}},
        {"tokens": {"access_token": 3}},
        {"tokens": {"access_token": "a", "account_id": "b c"}},
    ],
)
def test_a_file_without_a_login_is_refused_with_the_fix(tmp_path, text):
    """As is one that is not there."""
    for file in (file_with(tmp_path, text), str(tmp_path / "none.json")):
        with pytest.raises(SetupError, match="run `codex login`"):
            read_login("m", file)


def test_program_md_names_no_address_and_no_key():
    """`login: true` is all."""
    model = ExternalSection(kind="codex", model="gpt-6-luna", login=True).external_settings().model
    assert (model.url, model.key_env, model.login) == (CHATGPT_URL, "", "~/.codex/auth.json")
