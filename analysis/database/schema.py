"""Schema of `lineage.duckdb`: tables, views over them, and the meaning of each column.

A column's name has one type and one meaning in all tables and views, given once in `COLUMNS`. Views
answer common questions in a word (`FROM standings`). Times are UTC. Gains are in units of the
metric, signed so that above zero is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its SQL type and its meaning."""

    type: str
    about: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table. The first `keys` columns are its primary key (0: rows are only added)."""

    about: str
    columns: tuple[str, ...]
    keys: int = 1


@dataclass(frozen=True, slots=True)
class View:
    """A view: what it shows, and its query."""

    about: str
    query: str


def _columns(**described: tuple[str, str]) -> Mapping[str, Column]:
    return {name: Column(*words) for name, words in described.items()}


COLUMNS: Mapping[str, Column] = _columns(
    # who and where
    run=("VARCHAR", "name of the run"),
    format=("INTEGER", "version of the record format that the ledger is written in"),
    island=("VARCHAR", "name of the island"),
    agent=("VARCHAR", "name of the agent that proposed"),
    branch=("VARCHAR", "a git branch: an island's own, or the one that the run is merged into"),
    slice=("VARCHAR", "name of the slice that runs the trials"),
    device=("VARCHAR", "what the slice is a share of: cpu, cuda or mps"),
    origin_island=("VARCHAR", "island that the change, or the head, comes from"),
    origin_experiment=("INTEGER", "experiment that first made the change"),
    mode=("VARCHAR", "how a change travelled: migrated as it is, or ported by the island's agent"),
    result=(
        "VARCHAR",
        "worked, failed, conflicted, already there or refused; NULL: still open",
    ),
    origin_gain=("DOUBLE", "gain of the change on the island that it comes from"),
    origin_noise=("DOUBLE", "standard error of that gain"),
    experiment=("INTEGER", "number of the experiment; NULL: of none, as for the baseline"),
    trial=("VARCHAR", "name of the trial"),
    # commits
    node=("VARCHAR", "commit id, or experiment/<number> of a proposal that is no commit"),
    source=("VARCHAR", "the older node of an edge"),
    target=("VARCHAR", "the younger node of an edge"),
    kind=(
        "VARCHAR",
        "of a node: base, candidate, proposal, stack, consensus or merge; of an edge: its key",
    ),
    base=("VARCHAR", "commit that the run, island, check or promotion started from"),
    commit=("VARCHAR", "commit id of the candidate, of the stack, or of what a trial ran"),
    parent=("VARCHAR", "commit id of the head that the change was made on or rebased onto"),
    head=("VARCHAR", "commit id of the island's head, or of what was merged"),
    fallback=("VARCHAR", "commit id of the head that the island fell back to; NULL: it had none"),
    merge=("VARCHAR", "commit id of the merge"),
    step=("INTEGER", "number of kept changes between the base and this head"),
    change=(
        "VARCHAR",
        "digest of what the candidate does and where; equal: the same change at the same place",
    ),
    added=("INTEGER", "lines added to the genome"),
    removed=("INTEGER", "lines removed from the genome"),
    # what was asked
    task=("VARCHAR", "name of the task"),
    data=("VARCHAR", "name of the data"),
    metric=("VARCHAR", "name of what a score measures"),
    direction=("VARCHAR", "minimize: a lower score is better; maximize: a higher one"),
    genome=("VARCHAR[]", "the paths that candidates may change"),
    rungs=(
        "STRUCT(depth INTEGER, seconds DOUBLE, memory_mib INTEGER)[]",
        "the levels of fidelity, cheapest first",
    ),
    rung=("INTEGER", "level of fidelity, 0 the cheapest"),
    harness=("VARCHAR", "fingerprint of the harness; scores of two harnesses are never compared"),
    seed=("BIGINT", "seed of the run's, or the trial's, randomness"),
    baseline_seeds=("INTEGER", "number of seeds that the base is measured on first"),
    hypothesis=("VARCHAR", "what the agent expects, in its words"),
    brief=(
        "VARCHAR",
        "first 12 hex digits of the sha256 of the brief; NULL: none, or not recorded",
    ),
    notes=("JSON", "notes that the agent gets back in later briefs"),
    note=("INTEGER", "number of a person's note to the agents"),
    verdicts=("INTEGER", "verdicts of the run when it was written"),
    text=("VARCHAR", "what a model wrote; empty where it wrote nothing"),
    # what came of it
    ending=(
        "VARCHAR",
        "kept, discarded, failed, refused, outdated, null, void or unanswered; NULL: still open",
    ),
    verdict=(
        "VARCHAR",
        "keep or discard, or the result of a stack check or promotion; NULL: none yet",
    ),
    rule=("VARCHAR", "rule that refused the proposal"),
    failure=("VARCHAR", "how the candidate failed: timeout, crash, memory, invalid or check"),
    passed=("BOOLEAN", "whether all checks of program.md exited with 0; whether a gain holds"),
    piece=("INTEGER", "number of a piece of fresh data"),
    dev_gain=("DOUBLE", "gain of the same pair of trials on dev"),
    dev_noise=("DOUBLE", "standard error of dev_gain"),
    chance=("DOUBLE", "chance that an honest gain falls so short on fresh data"),
    command=("VARCHAR", "the check that failed"),
    duration=("DOUBLE", "seconds of wall time"),
    error_kind=(
        "VARCHAR",
        "why the agent gave no proposal; summary: one was asked for instead; NULL: it gave one",
    ),
    reason=("VARCHAR", "the reason, in a line"),
    gain=("DOUBLE", "gain over the head, or of a head over the base"),
    noise=("DOUBLE", "standard error of the gain"),
    pairs=("INTEGER", "number of pairs on common fresh seeds that the gain is the mean of"),
    score=("DOUBLE", "score computed by the harness, or the mean of `scores` of them"),
    scores=("INTEGER", "number of scores in the mean, at rung 0, screening left out"),
    drift=("DOUBLE", "score of the slice's latest sentinel less that of its first"),
    screened=(
        "DOUBLE",
        "score of the screening trial; it selected the candidate, so it is no evidence",
    ),
    sigma=("DOUBLE", "standard deviation of the baseline's scores between seeds"),
    # trials
    purpose=(
        "VARCHAR",
        "what a trial is for: baseline, screen, confirm, sentinel, stack, ablation or promotion",
    ),
    split=("VARCHAR", "held-out split that the trial is scored on: dev, hidden or sealed"),
    check_number=(
        "INTEGER",
        "number of the stack check, or of the check that a trial is for; NULL: an island's own",
    ),
    good=("VARCHAR", "trial that was the slice's last good sentinel"),
    state=("VARCHAR", "running, scored, failed, or voided (no fault of the candidate)"),
    sandbox=("VARCHAR", "what confined a trial: namespaces, landlock or none"),
    seconds=("MAP(VARCHAR, DOUBLE)", "wall seconds by phase; `budget` are the candidate's own"),
    peak_mib=("DOUBLE", "peak memory of all of the trial's processes together, MiB"),
    evidence=(
        "VARCHAR",
        "verified: computed without the candidate's code; reported: printed by a process of its",
    ),
    facts=("MAP(VARCHAR, DOUBLE)", "numbers measured by the harness"),
    digests=("MAP(VARCHAR, VARCHAR)", "sha256 of each artifact that was scored"),
    claims=("MAP(VARCHAR, DOUBLE)", "numbers that the genome printed; nothing relies on them"),
    tail=("VARCHAR", "end of the training log of a failed trial (the ledger has the others)"),
    # stacks
    parts=("INTEGER[]", "experiments whose changes are applied together, in order"),
    conflict=(
        "VARCHAR",
        "part that does not apply after the others, and in which files; NULL: all apply",
    ),
    dropped=("INTEGER[]", "experiments of the check that are not in its stack"),
    culprits=("VARCHAR", "experiments, or sets of them, that the verdict is about, as JSON"),
    expected=("DOUBLE", "sum of the parts' gains"),
    expected_noise=("DOUBLE", "standard error of the sum"),
    observed=(
        "DOUBLE",
        "gain over the base of all parts that apply together, by the check's trials",
    ),
    observed_noise=("DOUBLE", "standard error of the observed gain"),
    interaction=("DOUBLE", "observed gain less expected gain"),
    interaction_noise=("DOUBLE", "standard error of the interaction"),
    lines_saved=("INTEGER", "lines that the dropped changes would have added to the genome"),
    # promotions
    share=("DOUBLE", "share of the rung's seconds that the trial was given"),
    lower_gain=("DOUBLE", "gain at the rung below"),
    lower_noise=("DOUBLE", "standard error of the gain at the rung below"),
    kinds=(
        "VARCHAR[]",
        "what a change touches (islands/genome/categories.py), the most touched first",
    ),
    touches=(
        "VARCHAR",
        "optimiser, schedule, architecture, initialisation, data, efficiency or other",
    ),
    better_hidden=("BOOLEAN", "whether the stack is better on the hidden split; NULL: not queried"),
    tau=("DOUBLE", "Kendall's tau between the contenders' gains at the two rungs"),
    tau_low=("DOUBLE", "lower end of tau's 95 % interval"),
    tau_high=("DOUBLE", "upper end of tau's 95 % interval"),
    target_score=("DOUBLE", "the base's dev score on the rung's whole budget"),
    reached=("DOUBLE", "seconds that the stack needs for the target score; NULL: not reached"),
    reached_low=("DOUBLE", "longest budget tried that was too short, seconds"),
    reached_high=("DOUBLE", "shortest budget tried that was enough, seconds"),
    transfers=("BIGINT", "number of changes that are better at the higher rung too"),
    fades=("BIGINT", "number of changes not shown to be better there"),
    reverses=("BIGINT", "number of changes that are worse there"),
    changes=("VARCHAR[]", "commits of the consensus, one for each part"),
    before=("VARCHAR", "commit id that the branch, or the island, was at before"),
    how=("VARCHAR", "merge (two parents) or squash (one)"),
    forced=("BOOLEAN", "whether it was merged without having been promoted"),
    # cost and counts
    calls=("BIGINT", "number of calls to the provider"),
    tokens_in=("BIGINT", "tokens that the provider read"),
    tokens_out=("BIGINT", "tokens that the provider wrote"),
    model=("VARCHAR", "the language model that was called"),
    status=("INTEGER", "HTTP status of the answer, 0 if none came whole"),
    tokens_cached=("BIGINT", "those of tokens_in that were read from the provider's cache"),
    tokens_untold=("BIGINT", "most tokens of calls that never reported theirs"),
    usd=("DOUBLE", "US dollars"),
    tokens=("BIGINT", "tokens read and written, those that no count came for at their most"),
    usd_per_slice_hour=("DOUBLE", "US dollars that an hour of a slice counts as"),
    temperament=("VARCHAR", "what kind of change the brief asked for; NULL: any"),
    requests=("BIGINT", "number of times that the agent was asked for a proposal"),
    unanswered=("BIGINT", "number of times that it gave none"),
    trials=(
        "BIGINT",
        "number of trials, voided ones left out; of a quarantined slice: those it voided",
    ),
    kept=("BIGINT", "number of experiments kept"),
    nulls=("BIGINT", "number of null proposals (they do nothing) with a verdict"),
    nulls_kept=("BIGINT", "number of null proposals that the ratchet would have kept"),
    discarded=(
        "BIGINT",
        "number of experiments discarded; of a quarantined slice: discards it voided",
    ),
    failed=("BIGINT", "number of experiments whose candidate failed"),
    refused=("BIGINT", "number of proposals not admitted"),
    outdated=(
        "BIGINT",
        "number of candidates dropped because the head moved before they were measured",
    ),
    count=("BIGINT", "number of times that it happened"),
    cause=("VARCHAR", "the rule, kind of failure or kind of error behind an ending"),
    example=("VARCHAR", "the latest reason"),
    # when
    recorded=("TIMESTAMP", "when it was added to the ledger"),
    started=("TIMESTAMP", "when the trial started"),
    ended=("TIMESTAMP", "when it ended"),
    quarantined=("TIMESTAMP", "when it was quarantined with an invalid commit; NULL: it was not"),
    latest=("TIMESTAMP", "when it last happened"),
    # coordinators
    action=(
        "VARCHAR",
        "a run opened, resumed or stopped, a slice quarantined or released; kind of steering event",
    ),
    stop_limit=(
        "VARCHAR",
        "what ended a launch in good order: a limit, or ideas, score, stall or person",
    ),
    event=("VARCHAR", "an event as the ledger has it: JSON"),
    # how far this file has come
    bytes=("BIGINT", "bytes of the ledger that are in this file"),
    events=("BIGINT", "number of events in this file"),
    code=("VARCHAR", "digest of the code that made this file"),
    link=("VARCHAR", "link of the last ledger line in this file"),
)


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
            " score evidence failure reason"
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
            " recorded ended"
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
            " reached_high recorded ended"
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
        "Each move of the consensus branch.",
        _named("check_number base before commit parts changes recorded"),
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

VIEWS: Mapping[str, View] = {
    "spending": View(
        "What was spent on models, by proposal and by trial.",
        """
        SELECT experiment, island, usd, tokens_in + tokens_out + tokens_untold AS tokens, recorded
        FROM agent_calls
        UNION ALL
        SELECT experiment, island, usd, tokens, coalesce(ended, started) FROM trials
        WHERE usd IS NOT NULL
        """,
    ),
    "experiments": View(
        "Each experiment: proposal, verdict and cost.",
        """
        SELECT experiment, island, agent, parent, if(kind = 'candidate', node, NULL) AS commit,
          hypothesis, notes, ending, verdict, rule, failure, reason, gain, noise, pairs, score,
          scores, screened, evidence, added, removed, cost.usd, recorded, ended
        FROM nodes LEFT JOIN (
          SELECT experiment, sum(usd) AS usd FROM spending GROUP BY experiment
        ) AS cost USING (experiment)
        WHERE experiment IS NOT NULL
        ORDER BY experiment
        """,
    ),
    "heads": View(
        "Each island's head: what it last kept, adopted or fell back to.",
        """
        SELECT island, arg_max(head, (moved, place)) AS head FROM (
          SELECT island, base AS head, recorded AS moved, 0 AS place FROM islands
          UNION ALL SELECT island, node, ended, 1 FROM nodes WHERE ending = 'kept'
          UNION ALL SELECT island, head, recorded, 2 FROM catch_ups
          UNION ALL SELECT island, head, recorded, 2 FROM steering
            WHERE action = 'island_restarted'
          UNION ALL SELECT island, coalesce(fallback, head), recorded, 3 FROM fallbacks
        )
        GROUP BY island
        """,
    ),
    "kept": View(
        "Each island's chain of kept changes, from the base on. origin_island kept it first:"
        " islands that adopted another's head share changes.",
        """
        WITH RECURSIVE chain AS (
          SELECT island, head AS node FROM heads
          UNION ALL
          SELECT chain.island, nodes.parent FROM chain JOIN nodes USING (node)
          WHERE nodes.ending = 'kept'
        )
        SELECT chain.island, step, experiment, nodes.island AS origin_island, node AS commit,
          parent, agent, hypothesis, gain, noise, pairs, score, scores, evidence, added, removed,
          recorded, ended
        FROM chain JOIN nodes USING (node)
        WHERE ending = 'kept' AND quarantined IS NULL ORDER BY chain.island, step
        """,
    ),
    "migrations": View(
        "Each change brought to another island: its gain where it was made, and here.",
        """
        SELECT edges.kind AS mode, edges.experiment, edges.island, node.node,
          change.island AS origin_island, change.experiment AS origin_experiment, node.hypothesis,
          CASE WHEN node.ending = 'kept' THEN 'worked'
            WHEN node.ending IN ('discarded', 'failed') THEN 'failed'
            WHEN node.rule = 'conflict' THEN 'conflicted'
            WHEN node.rule = 'present' THEN 'already there'
            ELSE node.ending END AS result,
          node.reason, change.gain AS origin_gain, change.noise AS origin_noise, node.gain,
          node.noise, edges.recorded, node.ended
        FROM edges JOIN nodes AS node ON node.node = edges.target
          JOIN nodes AS change ON change.node = edges.source
        WHERE edges.kind IN ('migrated', 'ported') ORDER BY edges.experiment
        """,
    ),
    "failures": View(
        "Each failed trial and check, with what was tried.",
        """
        SELECT trial, trials.experiment, trials.island, commit, agent, hypothesis, purpose, seed,
          rung, trials.failure, trials.reason, tail, trials.ended
        FROM trials LEFT JOIN nodes ON nodes.node = trials.commit
        WHERE state = 'failed'
        UNION ALL
        SELECT NULL, checks.experiment, checks.island, commit, agent, hypothesis, 'check', NULL,
          NULL, 'check', checks.reason, tail, checks.recorded
        FROM checks LEFT JOIN nodes ON nodes.node = checks.commit WHERE NOT passed
        ORDER BY 13
        """,
    ),
    "refusals": View(
        "Each refused proposal.",
        """
        SELECT experiment, island, agent, rule, reason, hypothesis, parent, recorded
        FROM nodes WHERE ending = 'refused' ORDER BY experiment
        """,
    ),
    "outcomes_by_reason": View(
        "Endings of all that was not kept, and their causes, most frequent first.",
        """
        SELECT ending, cause, count(*) AS count, arg_max(reason, ended) AS example,
          max(ended) AS latest
        FROM (
          SELECT ending, coalesce(rule, failure, 'verdict') AS cause, reason, ended
          FROM nodes WHERE ending IN ('refused', 'outdated', 'failed', 'discarded')
          UNION ALL
          SELECT 'unanswered', error_kind, reason, recorded FROM agent_calls
          WHERE error_kind NOT IN ('exhausted', 'summary')
        )
        GROUP BY ending, cause ORDER BY count DESC, ending, cause
        """,
    ),
    "usage": View(
        "What each agent cost on each island, and how much of it was kept.",
        """
        SELECT agent, island, requests, unanswered, calls, tokens_in, tokens_out, usd,
          coalesce(kept, 0) AS kept
        FROM (
          SELECT agent, island, count(*) AS requests,
            count(*) FILTER (error_kind NOT IN ('exhausted', 'summary')) AS unanswered,
            sum(calls)::BIGINT AS calls, sum(tokens_in)::BIGINT AS tokens_in,
            sum(tokens_out)::BIGINT AS tokens_out, sum(usd) AS usd
          FROM agent_calls GROUP BY agent, island
        ) LEFT JOIN (
          SELECT agent, island, count(*) AS kept FROM nodes WHERE ending = 'kept'
          GROUP BY agent, island
        ) USING (agent, island)
        ORDER BY usd DESC, agent, island
        """,
    ),
    "transfer": View(
        "Which kinds of change transfer to a higher rung, by what they touch most.",
        """
        SELECT kinds[1] AS touches, count(*) FILTER (verdict = 'transfers') AS transfers,
          count(*) FILTER (verdict = 'fades') AS fades,
          count(*) FILTER (verdict = 'reverses') AS reverses,
          avg(lower_gain) AS lower_gain, avg(gain) AS gain
        FROM contenders GROUP BY touches ORDER BY transfers DESC, touches
        """,
    ),
    "notes_in_force": View(
        "The notes of a person that briefs show now.",
        """
        SELECT note, island, reason, recorded FROM steering AS added
        WHERE action = 'note_added' AND NOT EXISTS (
          FROM steering WHERE action = 'note_withdrawn' AND note = added.note)
        ORDER BY note
        """,
    ),
    "paused": View(
        "The islands that a person paused.",
        """
        SELECT island, recorded FROM steering
        WHERE action IN ('islands_paused', 'islands_resumed')
        QUALIFY row_number() OVER (PARTITION BY island ORDER BY recorded DESC, rowid DESC) = 1
          AND action = 'islands_paused'
        ORDER BY island
        """,
    ),
    "noise": View(
        "Standard deviation of a score between seeds, from the baseline.",
        """
        SELECT stddev_samp(score) AS sigma, count(*)::INTEGER AS scores
        FROM trials WHERE purpose = 'baseline' AND state = 'scored' AND rung = 0
        """,
    ),
    "sentinels": View(
        "How each slice measured one fixed trial over time: mean, spread, and the latest less the"
        " first. Slices of different hardware differ in their means.",
        """
        SELECT slice, rung, count(*)::INTEGER AS scores, avg(score) AS score,
          stddev_samp(score) AS sigma,
          arg_max(score, ended) - arg_min(score, ended) AS drift, max(ended) AS latest
        FROM trials CROSS JOIN (SELECT any_value(seed) AS anchor FROM trials
          WHERE purpose = 'sentinel')
        WHERE state = 'scored' AND (purpose = 'sentinel'
          OR (purpose = 'baseline' AND seed = anchor))
        GROUP BY slice, rung ORDER BY slice, rung
        """,
    ),
    "nulls": View(
        "How many null proposals (they do nothing) were kept: the rate of false keeps.",
        """
        SELECT count(*) AS nulls, count(*) FILTER (verdict = 'keep') AS nulls_kept
        FROM nodes WHERE ending = 'null'
        """,
    ),
    "standings": View(
        "Each island, best first. gain is the head's over the base: the sum of the gains of the"
        " changes in it, as they were when kept; noise is theirs, added in squares. kept counts the"
        " island's own.",
        """
        WITH gains AS (
          SELECT island, coalesce(sum(gain), 0.0) AS gain,
            sqrt(coalesce(sum(noise ** 2), 0.0)) AS noise
          FROM islands LEFT JOIN kept USING (island) GROUP BY island
        ), counts AS (
          SELECT island, count(*) FILTER (ending = 'kept' AND quarantined IS NULL) AS kept,
            count(*) FILTER (ending = 'discarded') AS discarded,
            count(*) FILTER (
              ending = 'failed' OR (ending = 'kept' AND quarantined IS NOT NULL)
            ) AS failed,
            count(*) FILTER (ending = 'refused') AS refused,
            count(*) FILTER (ending = 'outdated') AS outdated
          FROM nodes GROUP BY island
        ), tried AS (
          SELECT island, count(*) FILTER (state <> 'voided') AS trials FROM trials GROUP BY island
        ), calls AS (
          SELECT island,
            count(*) FILTER (error_kind NOT IN ('exhausted', 'summary')) AS unanswered
          FROM agent_calls GROUP BY island
        ), spent AS (
          SELECT island, sum(usd) AS usd FROM spending GROUP BY island
        )
        SELECT islands.island, islands.agent, heads.head, head.score,
          head.scores, head.evidence,
          gains.gain, gains.noise,
          coalesce(trials, 0) AS trials, coalesce(kept, 0) AS kept,
          coalesce(discarded, 0) AS discarded,
          coalesce(failed, 0) AS failed, coalesce(refused, 0) AS refused,
          coalesce(outdated, 0) AS outdated,
          coalesce(unanswered, 0) AS unanswered, coalesce(usd, 0) AS usd
        FROM islands CROSS JOIN run JOIN heads USING (island)
          JOIN gains USING (island)
          LEFT JOIN nodes AS head ON head.node = heads.head
          LEFT JOIN nodes AS base ON base.node = islands.base
          LEFT JOIN counts USING (island) LEFT JOIN tried USING (island)
          LEFT JOIN calls USING (island) LEFT JOIN spent USING (island)
        ORDER BY gain DESC NULLS LAST, length(islands.island), islands.island
        """,
    ),
}


def create(con: DuckDBPyConnection) -> None:
    """Create all tables and views, with comments, in the empty database that `con` uses."""
    for name, table in TABLES.items():
        con.execute(f"CREATE TABLE {name} ({_definition(table)})")
        con.execute(f"COMMENT ON TABLE {name} IS {quoted(table.about)}")
        _describe(con, name)
    for name, view in VIEWS.items():
        con.execute(f"CREATE VIEW {name} AS {view.query}")
        con.execute(f"COMMENT ON VIEW {name} IS {quoted(view.about)}")
        _describe(con, name)


def quoted(text: str) -> str:
    """Return `text` as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _describe(con: DuckDBPyConnection, name: str) -> None:
    for column, *_ in con.execute(f"DESCRIBE {name}").fetchall():
        con.execute(f"COMMENT ON COLUMN {name}.{column} IS {quoted(COLUMNS[column].about)}")


def _definition(table: Table) -> str:
    columns = [f"{name} {COLUMNS[name].type}" for name in table.columns]
    if table.keys:
        columns.append(f"PRIMARY KEY ({', '.join(table.columns[: table.keys])})")
    return ", ".join(columns)
