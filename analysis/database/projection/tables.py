"""Tables of `lineage.duckdb`: what a row of each says, its columns and its primary key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A table. The first `keys` columns are its primary key (0: rows are only added)."""

    about: str
    columns: tuple[str, ...]
    keys: int = 1


def _named(columns: str) -> tuple[str, ...]:
    return tuple(columns.split())


TABLES: Mapping[str, Table] = {
    "run": Table(
        "The run: one row.",
        _named(
            "run format base branch task data metric direction genome rungs harness seed"
            " baseline_seeds evidence usd_per_slice_hour recorded"
        ),
    ),
    "coordinators": Table(
        "Each time a coordinator opened, resumed or stopped the run.",
        _named("action reason stop_limit recorded"),
        keys=0,
    ),
    "islands": Table(
        "The islands as they started; slice is their current own one.",
        _named("island branch base agent slice device recorded"),
    ),
    "nodes": Table(
        "Nodes of the lineage: commits, and proposals that never became one.",
        _named(
            "node kind island experiment agent parent hypothesis notes ending verdict rule failure"
            " reason gain noise pairs step score scores screened evidence harness added removed"
            " change brief recorded ended quarantined"
        ),
    ),
    "edges": Table(
        "Edges of the lineage, from older to younger; analysis/lineage.py lists their kinds.",
        _named("source target kind island experiment gain noise recorded"),
        keys=3,
    ),
    "trials": Table(
        "Every trial and its outcome; usd and tokens: its calls to the problem's model.",
        _named(
            "trial experiment island commit purpose seed rung slice split check_number share state"
            " score evidence failure cause reason"
            " harness sandbox seconds peak_mib facts claims digests tail started ended usd tokens"
        ),
    ),
    "checks": Table(
        "Every run of program.md's checks on a candidate, or on the base (no experiment).",
        _named("experiment island commit passed command reason tail duration recorded"),
        keys=0,
    ),
    "fresh_checks": Table(
        "Every candidate about to be kept that was scored on fresh data, and whether its gain is"
        " there too; gain and noise are those on fresh data.",
        _named(
            "experiment island commit trial piece passed gain noise dev_gain dev_noise chance"
            " recorded"
        ),
        keys=0,
    ),
    "agent_calls": Table(
        "Every request for a proposal: its cost, and the error if there was no proposal.",
        _named(
            "experiment island agent temperament error_kind reason calls tokens_in tokens_out"
            " tokens_untold usd recorded"
        ),
        keys=0,
    ),
    "model_calls": Table(
        "Every call to a model; agent_calls has their sums by proposal, trials those of agent"
        " 'run', which is the command that is measured. usd is NULL where the price is unknown.",
        _named(
            "agent model experiment status tokens_in tokens_out tokens_cached tokens_untold usd"
            " duration recorded"
        ),
        keys=0,
    ),
    "summaries": Table(
        "What a model wrote that the verdicts so far have taught, which briefs show; reason says"
        " why it wrote nothing.",
        _named(
            "experiment island agent verdicts text reason tokens_in tokens_out tokens_untold usd"
            " recorded"
        ),
        keys=0,
    ),
    "stacks": Table(
        "Every stack check: do kept changes add up? verdict is additive, short, redundant,"
        " antagonistic or conflict; observed is the gain of all parts, gain that of commit.",
        _named(
            "check_number base verdict commit parts dropped culprits expected expected_noise"
            " observed observed_noise gain noise pairs interaction interaction_noise lines_saved"
            " recorded ended quarantined"
        ),
    ),
    "arms": Table(
        "Every combination of parts that a stack check applied.",
        _named("check_number parts commit conflict recorded"),
        keys=0,
    ),
    "promotions": Table(
        "Every promotion: does a stack that gained at one rung gain at the next? gain and noise are"
        " at the higher one; verdict is transfers, fades or reverses.",
        _named(
            "check_number rung base commit parts verdict reason lower_gain lower_noise gain noise"
            " pairs better_hidden tau tau_low tau_high target_score reached reached_low"
            " reached_high recorded ended quarantined"
        ),
    ),
    "contenders": Table(
        "Every change that a promotion measured alone, against its own parent.",
        _named(
            "check_number experiment kinds lower_gain lower_noise gain noise pairs verdict ended"
        ),
        keys=2,
    ),
    "consensus": Table(
        "Each move of the consensus branch; the last one that is not quarantined is in force.",
        _named("check_number base before commit parts changes recorded quarantined"),
        keys=0,
    ),
    "sealed": Table(
        "The gain on the sealed split, which is scored once in a run.",
        _named("commit base gain noise pairs recorded"),
        keys=0,
    ),
    "quarantines": Table(
        "Each commit that others were built on and a trial found invalid; nodes.quarantined tells"
        " what was quarantined with it.",
        _named("commit trial reason recorded"),
        keys=0,
    ),
    "fallbacks": Table(
        "Each time an island fell back from a quarantined head.",
        _named("trial island head fallback recorded"),
        keys=0,
    ),
    "catch_ups": Table(
        "Each time an island adopted another's head; parts are the experiments that this added.",
        _named("island origin_island before head parts recorded"),
        keys=0,
    ),
    "steering": Table(
        "What a person said to the run, and each time an island went on from another head for it;"
        " reason is that in words (of a note: the person's own).",
        _named("action island experiment note before head reason recorded"),
        keys=0,
    ),
    "slice_quarantines": Table(
        "Each time a slice was quarantined because its sentinels drifted, or was released; how many"
        " trials and discards that voided.",
        _named("slice action reason good trials discarded recorded"),
        keys=0,
    ),
    "merges": Table(
        "Each merge of the consensus, or of an island's head (then island is given).",
        _named("island head merge branch how forced recorded"),
        keys=0,
    ),
    "stack_events": Table(
        "The events that heads, stacks and the consensus are made of, as the ledger has them.",
        _named("event recorded"),
        keys=0,
    ),
    "projection": Table(
        "How much of the ledger is in this file; not part of the record.",
        _named("bytes events code link"),
        keys=0,
    ),
}
