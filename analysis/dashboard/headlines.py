"""Headlines of the page's feed: the lines of events (analysis/event_lines.py), short and inert."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from analysis.dashboard.keeps import OpenExperiments
from analysis.event_lines import Tone, line_of
from analysis.untrusted_text import cut, first_line
from islands import events as ev

MAX_TEXT = 200
"""Characters of a headline."""


@dataclass(frozen=True, slots=True)
class Headline:
    """One line on an event.

    when: when it was recorded, UTC
    text: what happened, one printable line
    tone: what kind of line it is
    experiment: the experiment that it is about, 0 for none
    """

    when: datetime
    text: str
    tone: Tone
    experiment: int


def headlines(events: Iterable[ev.Event]) -> Iterator[Headline]:
    """Yield the headlines of events in ledger order, hypotheses with those that were kept."""
    known = OpenExperiments()
    for event in events:
        known.take(event)
        if (one := headline(event, known.hypotheses)) is not None:
            yield one


def headline(event: ev.Event, hypotheses: Mapping[int, str]) -> Headline | None:
    """Return the headline of `event`, None where there is nothing to say.

    hypotheses: by experiment, as far as they are known
    """
    line = line_of(event)
    if line is None or line.tone == "detail":
        return None
    idea = first_line(hypotheses.get(line.experiment, "")) if line.tone == "kept" else ""
    text = cut(first_line(f"{line.text}. {idea}" if idea else line.text), MAX_TEXT)
    return Headline(datetime.fromtimestamp(event.recorded, UTC), text, line.tone, line.experiment)


def brief(latest: Iterable[Headline]) -> Iterator[Headline]:
    """Yield headlines, latest first, with one line for each row of discarded experiments."""
    for tone, group in groupby(latest, key=lambda one: one.tone):
        row = list(group)
        if tone == "discarded" and len(row) > 1:
            numbers = sorted(one.experiment for one in row)
            text = f"{len(row)} discarded, #{numbers[0]} to #{numbers[-1]}"
            yield Headline(row[0].when, text, tone, 0)
        else:
            yield from row
