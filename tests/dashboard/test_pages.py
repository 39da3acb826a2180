"""The pages: figures are those of the commands, and nothing that an agent wrote comes alive."""

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

from analysis.dashboard import pages
from analysis.dashboard.access import Access
from analysis.dashboard.app import build
from analysis.dashboard.records import Records
from analysis.dashboard.render import diff_lines
from analysis.database.queries import ask
from analysis.ledger import Ledger
from analysis.questions.comparison import compare_runs
from analysis.questions.slice_metrics import void_lines
from analysis.run import RecordedRun
from islands import events as ev
from tests.support.recorded_repo import RUN, another_keep
from tests.support.recorded_run import RUN as NIGHT
from tests.support.recorded_run import recorded_run

AT = f"/runs/{RUN}"
TABS = ("", "/changes", "/lineage", "/slices", "/money", "/checks")


@pytest.fixture(scope="module")
def client(repo):
    """Return a browser on the page."""
    with TestClient(build(repo.path, Access()), base_url="http://127.0.0.1:8765") as client:
        yield client


class Seen(HTMLParser):
    """Collects a page's tags, links and text; refuses what runs or comes from elsewhere."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.links, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not [k for k, _ in attrs if k.startswith("on") or k == "style"]
        self.links += [v for k, v in attrs if k in {"href", "src", "action", "srcset"}]
        assert tag != "script" or dict(attrs)["src"].startswith("/static/")

    def handle_data(self, data):
        self.text += data


def test_every_page_answers_and_every_link_on_it_leads_somewhere(client, repo):
    """From the list of runs on; what is loaded or linked is on this server."""
    waiting, seen = ["/"], set()
    while waiting:
        path = waiting.pop()
        answer = client.get(path)
        assert answer.status_code == 200, path
        seen.add(path.partition("?")[0])
        if "text/html" not in answer.headers["content-type"]:
            continue
        for link in Seen(answer.text).links:
            assert re.match(r"/(?!/)|#", link), link
            plain = link.partition("?")[0].partition("#")[0]
            picture = plain.endswith(".svg") and not plain.startswith("/static")
            if link[0] == "/" and not picture and plain not in {*seen, *waiting} and len(seen) < 60:
                waiting.append(link)
    assert {"/", "/compare", f"{AT}/changes/{repo.kept.experiment}"} <= seen
    assert {AT + tab for tab in TABS} <= seen
    assert client.get(f"{AT}/pictures/progress.svg?dark").text.startswith("<svg")


def test_every_page_of_a_real_night_answers(tmp_path):
    """Its void trials are told as `swarm status` tells them."""
    recorded_run(tmp_path)
    at = f"/runs/{NIGHT}"
    with TestClient(build(tmp_path, Access()), base_url="http://127.0.0.1:8765") as client:
        pages = {tab: client.get(at + tab) for tab in (*TABS, "/changes/55", "/changes/48")}
    assert {page.status_code for page in pages.values()} == {200}
    with RecordedRun(tmp_path / ".swarm" / NIGHT) as run:
        told = list(void_lines(ask(run.folder, "FROM voids").named()))
    assert told
    shown = Seen(pages["/slices"].text).text
    assert all(line in shown for line in told)


@pytest.mark.parametrize("path", ["/runs/none", f"{AT}/changes/99999", f"{AT}/none", "/none"])
def test_what_there_is_not_is_said_in_one_line(client, path):
    """With 404, as a page."""
    answer = client.get(path)
    assert answer.status_code == 404
    assert "Not found" in answer.text
    for part in ("charts/none.json", "pictures/none.svg"):
        assert client.get(f"{AT}/{part}").status_code == 404


@pytest.mark.parametrize("run", ["..", "%2e%2e", "..%2f..", "lab%2f..%2flab", "%00"])
def test_no_path_leaves_the_runs_folder(client, run):
    """A run is one of those in .swarm/, or it is none; static files are ours."""
    assert client.get(f"/runs/{run}/changes").status_code == 404
    assert client.get("/static/%2e%2e/app.py").status_code == 404


def test_hostile_text_is_inert_on_every_page(client, repo):
    """Markup, terminal codes, bidirectional controls and 100 kB of a hypothesis and of a diff."""
    shown = 0
    change = f"{AT}/changes/{repo.kept.experiment}"
    for path in (*(AT + tab for tab in TABS), change, f"{AT}/changes?words=<script>"):
        page = client.get(path).text
        assert not re.search("[\x00-\x08\x1b\u202a-\u202e\u2066-\u2069]", page), path
        assert {"script", "img"} & set(Seen(page).tags) <= {"script", "img"}
        assert page.count("<script") == 3, path
        assert len(page) < 120_000, path
        shown += "&lt;script&gt;document.title" in page
    assert shown >= 4
    text = Seen(client.get(change).text).text
    assert "</pre><script>document.title = 'owned'</script>" in text
    assert "{{ 7 * 7 }}" in text
    for chart in ("progress", "lanes"):
        assert len(client.get(f"{AT}/charts/{chart}.json").content) < 100_000


def test_the_figures_are_those_of_the_commands(client, repo):
    """Standing, cost and evidence on the pages are the questions' answers."""
    with RecordedRun(repo.ledger) as run:
        best, *_ = ask(repo.ledger, "FROM standings").named()
        costs, found = run.cost(), run.why(f"#{repo.kept.experiment}")
    overview = Seen(client.get(AT).text).text
    assert f"{best['score']:.6g}" in overview
    for agent in costs:
        assert f"{agent.trials:,}" in overview
    page = Seen(client.get(f"{AT}/changes/{repo.kept.experiment}").text).text
    assert found.gain.format() in page
    for pair in found.pairs:
        assert f"{pair.seed}" in page
        assert f"{pair.gain:+.4g}" in page
    chart = client.get(f"{AT}/charts/progress.json").json()
    kept = {
        e.experiment
        for e in repo.events
        if isinstance(e, ev.VerdictReached) and not e.null and e.verdict == "keep"
    }
    drawn = {s["experiment"] for i in chart["islands"] for s in i["steps"] if "experiment" in s}
    assert drawn <= kept
    assert len(client.get(f"{AT}/charts/lanes.json").json()["purposes"]) >= 2


def test_the_list_has_pages_and_filters(repo):
    """Each experiment is on one page; a filter shows only what it names."""
    with RecordedRun(repo.ledger) as run:
        numbers, before = [], 0
        while True:
            page = pages.experiments(run, pages.Wanted(before=before))
            numbers += [row["experiment"] for row in page["rows"]]
            if not (before := page["next"]):
                break
        assert (
            numbers
            == sorted(
                {
                    e.experiment
                    for e in repo.events
                    if isinstance(e, ev.ProposalReceived | ev.MigrantOffered)
                }
            )[::-1]
        )
        kept = pages.experiments(run, pages.Wanted(ending="kept"))["rows"]
        assert {row["ending"] for row in kept} == {"kept"}
        found = pages.experiments(run, pages.Wanted(words="TITLE = 'OWNED'"))["rows"]
        assert [row["experiment"] for row in found] == [repo.kept.experiment]


def test_two_runs_are_compared_as_the_command_does(client, repo):
    """A run is no better than itself; one run alone is compared with nothing."""
    page = Seen(client.get(f"/compare?a={RUN}&b={RUN}").text).text
    with RecordedRun(repo.ledger) as run:
        figures = pages.side(run)["figures"]
    assert figures.gain.format() in page
    assert f"{figures.kept} of {figures.experiments}" in page
    assert f"is better by {compare_runs(figures, figures).difference.format()}" in page
    assert "is better by" not in client.get(f"/compare?a={RUN}").text


def test_a_record_is_opened_again_only_after_a_pause(repo, tmp_path):
    """All readers share one; a change that was recorded a moment ago is there when asked for."""
    copy = tmp_path / "repo"
    shutil.copytree(repo.path, copy)
    mine = dataclasses.replace(repo, path=copy)
    now = [0.0]
    records = Records(copy, lambda: now[0])
    asked = []

    def make(run):
        asked.append(run)
        return run.sql("SELECT max(experiment) FROM nodes").fetchall()[0][0]

    first = records.answer(RUN, "last", make)
    number, events = another_keep(mine)
    with Ledger.open(mine.ledger, lambda: 2e9) as ledger:
        ledger.extend(events)
    assert records.answer(RUN, "last", make) == first
    assert records.answer(RUN, "last", make, least=first.bytes + 1) == first
    newest = records.answer(RUN, "last", make, haste=True)
    assert newest.value == number
    assert first.bytes < newest.bytes == (mine.ledger / "ledger.jsonl").stat().st_size
    now[0] += 100
    assert records.answer(RUN, "last", make) == newest
    assert len(asked) == 2
    records.close()
    client = TestClient(build(copy, Access()), base_url="http://localhost")
    assert client.get(f"{AT}/changes/{number}").status_code == 200
    assert "Try &lt;b&gt;tea&lt;/b&gt;" in client.get(AT).text


def test_a_broken_record_hides_no_other_run(repo, tmp_path):
    """It is listed with what is wrong."""
    copy = tmp_path / "repo"
    shutil.copytree(repo.path, copy)
    broken = copy / ".swarm/broken"
    broken.mkdir()
    (broken / "ledger.jsonl").write_text(json.dumps({"kind": "nonsense"}) + "\n")
    client = TestClient(build(copy, Access()), base_url="http://localhost")
    index = client.get("/")
    assert index.status_code == 200
    assert "carries no link" in index.text
    assert f'href="{AT}"' in index.text
    assert client.get("/runs/broken").status_code == 404


def test_lines_of_a_diff_are_told_apart():
    """A removed line that looks like a file header is a removed line."""
    diff = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n--- old\n+++ new\n same\n"
    kinds = [kind for kind, _ in diff_lines(diff)]
    assert kinds == ["file", "file", "file", "hunk", "removed", "added", "same"]
