"""Writes the brief: everything an island's agent is shown for one proposal.

Scores and gains are rounded to steps (islands/ratchet/ladder.py), so that an agent cannot fit the
held-out data by small differences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256

from pydantic import TypeAdapter

from islands.ratchet.ladder import released, released_score, step
from islands.records import Attempt, Brief, Change, Entry, Pending
from islands.rng import seed_of
from islands.state.population import IslandState, KeptChange
from islands.state.run_state import State
from swarm.agents.plain_sampling import without_history

MAX_ELSEWHERE = 4
"""How many of the latest changes kept on other islands a brief shows."""

_BRIEF: TypeAdapter[Brief] = TypeAdapter(Brief)

Files = Callable[[str], Mapping[str, Entry]]


def digest(brief: Brief) -> str:
    """Return the first 12 hex digits of the sha256 of a brief as JSON: equal for equal briefs."""
    return sha256(_BRIEF.dump_json(brief)).hexdigest()[:12]


class Briefer:
    """Writes briefs from the state and the genome; `files` reads the files of a commit."""

    def __init__(self, files: Files, program: str) -> None:
        self._files, self._program = files, program
        # heads and recent keeps are read for every brief, and commits never change
        self._texts = lru_cache(maxsize=128)(self._read)

    def brief(self, state: State, name: str, experiment: int, refused: str = "") -> Brief:
        """Return the brief of experiment number `experiment` for island `name`."""
        run, island = state.run, state.islands[name]
        by = step(state.scores.noise())
        return Brief(
            experiment=experiment,
            island=name,
            metric=run.metric,
            direction=run.direction,
            program=self._program,
            genome=self._texts(island.head),
            score=released_score(state.scores.mean(island.head) or 0.0, by),
            sigma=state.scores.noise().sigma,
            recent=tuple(_released(attempt, by) for attempt in island.recent_attempts),
            elsewhere=self._elsewhere(state, name, by),
            seed=seed_of(run.seed, "brief", name, experiment),
            refused=refused,
            port=self._port(state, name, by),
            pending=tuple(_pending(island)),
            notes=state.steering.notes_for(name),
            head=island.head,
            learned=state.summary,
            device=island.slice.kind,
            claims=tuple(
                replace(claim, island=other)
                for other, island in state.islands.items()
                if other != name
                for claim in _pending(island)
            ),
        )

    def plain(self, brief: Brief, state: State) -> Brief:
        """Return a brief on the run's base, for an agent that is shown no history."""
        base, by = state.run.base, step(state.scores.noise())
        score = released_score(state.scores.mean(base) or 0.0, by)
        return replace(without_history(brief), genome=self._texts(base), score=score, head=base)

    def _elsewhere(self, state: State, name: str, by: float) -> tuple[Change, ...]:
        others = {
            kept.experiment: kept
            for other, island in state.islands.items()
            if other != name
            for kept in island.kept[-MAX_ELSEWHERE:]
            if not state.migrants.has_met(name, kept.origin)
        }
        return tuple(self._change(others[number], by) for number in sorted(others)[-MAX_ELSEWHERE:])

    def _port(self, state: State, name: str, by: float) -> Change | None:
        """Return another island's change that this one's agent is asked to express here, if any."""
        offered = state.migrants.ports.get(name)
        if offered is None:
            return None
        migrant = offered.migrant
        return Change(
            migrant.experiment,
            migrant.island,
            migrant.hypothesis,
            released(migrant.gain, by),
            before=self._texts(migrant.parent),
            after=self._texts(migrant.commit),
        )

    def _change(self, kept: KeptChange, by: float) -> Change:
        return Change(
            kept.experiment,
            kept.island,
            kept.hypothesis,
            released(kept.gain, by),
            before=self._texts(kept.parent),
            after=self._texts(kept.commit),
        )

    def _read(self, commit: str) -> Mapping[str, str]:
        return {path: entry.data.decode() for path, entry in self._files(commit).items()}


def _released(attempt: Attempt, by: float) -> Attempt:
    return replace(attempt, gain=released(attempt.gain, by)) if attempt.gain else attempt


def _pending(island: IslandState) -> Iterator[Pending]:
    for experiment in (island.experiment, *island.queue):
        if experiment is not None and not experiment.null:
            yield Pending(experiment.number, experiment.hypothesis, experiment.notes)
