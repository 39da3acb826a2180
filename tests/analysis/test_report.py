"""Reports: the figures are those of the record, and nothing that an agent wrote comes alive."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.questions.target import find_experiment
from analysis.report.facts import gather
from analysis.report.render import MAX_DIFF_CHARS, inert, render, shown_pictures
from analysis.run import RecordedRun
from harness.contract import SetupError
from islands import events as ev
from tests.support.record import write

HOSTILE_DIFF = "@@ -1 +1 @@\n-a\n+<script>alert(1)</script>\x1b[2J\u202e```\n"


@pytest.fixture(scope="module")
def facts(recorded):
    """Return the facts of the recorded run; its diffs are hostile."""
    with RecordedRun(recorded) as run:
        yield gather(run.source, lambda old, new: HOSTILE_DIFF, run._fold.lfsrs)


class Seen(HTMLParser):
    """Collects the tags and the attributes of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.links = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [v for k, v in attrs if k in {"href", "src", "action"}]
        assert not [k for k, _ in attrs if k.startswith("on")]


def test_the_facts_are_those_of_the_ledger(facts, history):
    """Counts, the result's gain and the expected false keeps follow from the events."""
    kept = [e for e in history[0] if isinstance(e, ev.VerdictReached) and e.verdict == "keep"]
    kept = [e for e in kept if not e.null]
    assert {c.evidence.experiment for c in facts.changes} == {e.experiment for e in kept}
    assert facts.expected_false == pytest.approx(sum(e.gain.lfsr for e in kept if e.gain))
    ended = [e for e in history[0] if isinstance(e, ev.TrialEnded)]
    assert facts.trials >= len(ended)
    assert facts.result is not None
    assert facts.began <= facts.ended


def test_expected_false_keeps_are_those_of_all_that_was_kept_for_a_gain(recorded, monkeypatch):
    """Of those that are not shown too; what is shorter and no worse was not kept for a gain."""
    with RecordedRun(recorded) as run:
        lfsrs = dict.fromkeys(run._fold.lfsrs, 0.01)
        whole = gather(run.source, lambda old, new: "", lfsrs)
        (first, *_) = [change.evidence.experiment for change in whole.changes]
        monkeypatch.setattr("analysis.report.facts.MAX_CHANGES", 1)
        shown = gather(run.source, lambda old, new: "", lfsrs, {first})
    kept = len(whole.changes) + whole.unshown
    assert kept > 2
    assert whole.expected_false == pytest.approx(0.01 * kept)
    assert shown.expected_false == pytest.approx(0.01 * (kept - 1))
    for to in ("html", "md"):
        text = render(shown, {}, to)
        assert f"{0.01 * (kept - 1):.2g} of {kept - 1} changes kept for a gain" in text
        assert "Kept as shorter and no worse: 1." in text
        assert "kept as shorter" in text


@pytest.mark.parametrize("to", ["html", "md"])
def test_a_report_is_whole_inert_and_names_its_commands(facts, to):
    """Hostile hypotheses and diffs stay text; each section says how to derive it again."""
    text = render(facts, {}, to)
    assert "<script" not in text if to == "html" else "\n```diff\n" in text
    assert not re.search("[\x00-\x08\x1b\u202a-\u202e\u2066-\u2069]", text)
    for command in ("swarm cost", "outcomes_by_reason", "swarm ablation", "swarm why"):
        assert command in text
    for change in facts.changes:
        assert change.evidence.gain is None or change.evidence.gain.format() in text
    if to == "html":
        seen = Seen()
        seen.feed(text)
        assert seen.tags.isdisjoint({"script", "iframe", "object", "link", "base", "form"})
        assert seen.links
        assert all(link.startswith("#") for link in seen.links)
    else:
        assert text.count("```") == 2


def test_a_report_has_no_picture_that_shows_nothing(facts):
    """Its text says what did not happen; without dollars the lanes tell where time went."""
    paid, free = (tuple(replace(cost, usd=usd) for cost in facts.costs) for usd in (1.0, 0.0))
    assert len(shown_pictures(replace(facts, contenders=({"experiment": 1},), costs=paid))) == 6
    bare = replace(facts, contenders=(), ablation=None, costs=free)
    assert shown_pictures(bare) == ["progress", "gain", "slices"]
    assert shown_pictures(replace(bare, screened=0, changes=())) == ["slices"]


def test_a_report_is_written_with_its_pictures(recorded, facts, tmp_path):
    """HTML holds each picture as SVG; another suffix is refused."""
    with RecordedRun(recorded) as run:
        run._branches = type("Git", (), {"diff": staticmethod(lambda old, new: "")})()
        run.report(tmp_path / "r.html")
        text = (tmp_path / "r.html").read_text()
        assert text.count("<figure") == text.count("<svg") == len(shown_pictures(facts)) > 3
        assert "http-equiv" in text
        with pytest.raises(SetupError, match=r"\.html or \.md"):
            run.report(tmp_path / "r.pdf")
        with pytest.raises(SetupError, match="No such file"):
            run.report(tmp_path / "no/r.md")


def test_a_run_that_kept_nothing_is_reported_too(tmp_path, history):
    """Nothing kept: a sentence, no ablation, no traceback; nothing recorded: one line."""
    write(tmp_path, history[0][:12])
    with RecordedRun(tmp_path) as run:
        young = gather(run.source, lambda old, new: "", {})
        assert (young.result, young.ablation, young.changes) == (None, None, ())
        assert "Nothing was kept" in render(young, {}, "html")
        with pytest.raises(SetupError, match="no such experiment"):
            find_experiment(run.connection, "#999")
    empty = tmp_path / "empty"
    empty.mkdir()
    write(empty, [])
    with RecordedRun(empty) as run, pytest.raises(SetupError, match="not started"):
        gather(run.source, lambda old, new: "", {})


@given(st.text())
def test_candidates_text_is_made_inert(text):
    """No control or format character but newline and tab, no fence, and a bounded length."""
    shown = inert(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]", shown)
    assert "```" not in shown
    assert len(inert(text * 1000)) <= MAX_DIFF_CHARS + 60
