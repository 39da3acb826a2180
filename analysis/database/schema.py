"""What stands in `lineage.duckdb`: the tables, the views over them, and what each column means.

A column's name has one type and one meaning wherever it stands, said once in `COLUMNS`; tables
are lists of such names. Views answer the questions that are asked most, so that they can be
asked in a word (`FROM standings`) and built upon. Times are UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class Column:
    """A column's type in SQL and what it means."""

    type: str
    about: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the first `keys` of its columns tell rows apart (0: rows are only added)."""

    about: str
    columns: tuple[str, ...]
    keys: int = 1


@dataclass(frozen=True, slots=True)
class View:
    """A view: what it answers, and the query."""

    about: str
    query: str


def _columns(**described: tuple[str, str]) -> Mapping[str, Column]:
    return {name: Column(*words) for name, words in described.items()}


COLUMNS: Mapping[str, Column] = _columns(
    # who and where
    run=("VARCHAR", "name of the run"),
    format=("INTEGER", "version of the record format that the ledger is written in"),
    island=("VARCHAR", "name of the island"),
    agent=("VARCHAR", "what proposed"),
    branch=("VARCHAR", "a branch of the repository: an island's own, or where the run comes home"),
    slice=("VARCHAR", "the leased share of a device that trials are pinned to"),
    device=("VARCHAR", "what the slice is a share of: cpu, cuda or mps"),
    origin_island=("VARCHAR", "the island that a change, or a head, comes from"),
    origin_experiment=("INTEGER", "the experiment whose change was brought"),
    mode=("VARCHAR", "how a change travelled: migrated as it is, or ported by the island's agent"),
    result=(
        "VARCHAR",
        "worked, failed, conflicted, already there or refused; NULL: still open",
    ),
    origin_gain=("DOUBLE", "the gain of the change on the island it was brought from"),
    origin_noise=("DOUBLE", "standard error of that gain"),
    experiment=("INTEGER", "number of the proposal's life; NULL: of none, as the baseline"),
    trial=("VARCHAR", "name of the trial"),
    # commits
    node=("VARCHAR", "commit id, or experiment/<number> of a proposal that is no commit"),
    source=("VARCHAR", "the older node of an edge"),
    target=("VARCHAR", "the younger node of an edge"),
    kind=(
        "VARCHAR",
        "of a node: base, candidate, proposal, stack, consensus or merge; of an edge: its key",
    ),
    base=("VARCHAR", "the commit that was begun from"),
    commit=("VARCHAR", "commit id of the candidate, or of what a trial measured"),
    parent=("VARCHAR", "commit id of the head that it is made on: the brief's, or a later one"),
    head=("VARCHAR", "commit id of the island's best, or of what was merged"),
    fallback=("VARCHAR", "commit id of the head that an island went back to; NULL: it had none"),
    merge=("VARCHAR", "commit id of the merge on the branch"),
    step=("INTEGER", "how many keeps lie between the base and this head"),
    added=("INTEGER", "lines added to the genome"),
    removed=("INTEGER", "lines removed from the genome"),
    # what was asked
    task=("VARCHAR", "name of the task"),
    data=("VARCHAR", "name of the data"),
    metric=("VARCHAR", "what a score measures"),
    direction=("VARCHAR", "minimize: a lower score is better; maximize: a higher one"),
    genome=("VARCHAR[]", "the paths that candidates may change"),
    rungs=(
        "STRUCT(depth INTEGER, seconds DOUBLE, memory_mib INTEGER)[]",
        "the levels of fidelity, cheapest first",
    ),
    rung=("INTEGER", "level of fidelity, 0 the cheapest"),
    harness=("VARCHAR", "the frozen measure; scores of two harnesses never compare"),
    seed=("BIGINT", "the number that fixes randomness, of the run or of a trial"),
    baseline_seeds=("INTEGER", "how many seeds the base is measured on before anything is tried"),
    hypothesis=("VARCHAR", "what the agent expected, in its words"),
    notes=("JSON", "what the agent wants to see again"),
    # what came of it
    ending=(
        "VARCHAR",
        "kept, discarded, failed, refused, outdated, null, void or unanswered; NULL: still open",
    ),
    verdict=("VARCHAR", "keep or discard, or what a stack check found; NULL: none was reached"),
    rule=("VARCHAR", "the rule by which a proposal was refused"),
    failure=("VARCHAR", "how it broke: timeout, crash, memory or invalid"),
    error_kind=("VARCHAR", "why the agent gave no proposal; NULL: it gave one"),
    reason=("VARCHAR", "why it ended so, in a line"),
    gain=("DOUBLE", "how much better than the head, or of a head than the base; > 0 is better"),
    noise=("DOUBLE", "standard error of the gain"),
    pairs=("INTEGER", "how many pairs of scores on common fresh seeds the gain is made of"),
    score=("DOUBLE", "what the harness computed: one score, or the mean of `scores`"),
    scores=("INTEGER", "how many scores at rung 0 the mean is made of, screening left out"),
    drift=("DOUBLE", "the slice's latest sentinel less its first"),
    screened=("DOUBLE", "score of the screening trial, which selected the candidate: no evidence"),
    sigma=("DOUBLE", "standard deviation of the baseline's scores between seeds"),
    # trials
    purpose=(
        "VARCHAR",
        "what a trial is for: baseline, screen, confirm, sentinel, stack, ablation or promotion",
    ),
    split=("VARCHAR", "the held-out split a trial is scored on: dev, hidden or sealed"),
    check_number=(
        "INTEGER",
        "number of the stack check, or of the check that a trial is for; NULL: an island's own",
    ),
    good=("VARCHAR", "the slice's last sentinel before that which was good"),
    state=("VARCHAR", "running, scored, failed, or voided through no fault of the candidate"),
    sandbox=("VARCHAR", "what confined a trial: namespaces, landlock or none"),
    seconds=("MAP(VARCHAR, DOUBLE)", "wall seconds by phase; `budget` are the trial's own"),
    peak_mib=("DOUBLE", "the most memory that a trial's processes held together, in MiB"),
    facts=("MAP(VARCHAR, DOUBLE)", "numbers that the harness knows"),
    digests=("MAP(VARCHAR, VARCHAR)", "sha256 of each file that was sealed and scored"),
    claims=("MAP(VARCHAR, DOUBLE)", "numbers that the genome printed: nothing rests on them"),
    tail=("VARCHAR", "end of the training log, of failed trials (the ledger has the others')"),
    # stacks
    parts=("INTEGER[]", "experiments whose changes are applied together, in order"),
    conflict=("VARCHAR", "which part does not go on the others, and where; NULL: all do"),
    dropped=("INTEGER[]", "parts that are left out in the end"),
    culprits=("VARCHAR", "the parts, or sets of them, that the verdict is about, as JSON"),
    expected=("DOUBLE", "sum of the parts' gains"),
    expected_noise=("DOUBLE", "standard error of the sum"),
    observed=("DOUBLE", "gain over the base of all parts that go on it together, by the trials"),
    observed_noise=("DOUBLE", "standard error of what was observed"),
    interaction=("DOUBLE", "the whole's gain less the sum of its parts'"),
    interaction_noise=("DOUBLE", "standard error of the interaction"),
    lines_saved=("INTEGER", "lines of the genome that the dropped parts would have added"),
    # promotions
    share=("DOUBLE", "the part of the rung's seconds that a trial was given"),
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
    better_hidden=("BOOLEAN", "the one bit of the hidden part; NULL: not asked"),
    tau=("DOUBLE", "Kendall's tau between the contenders' gains at the two rungs"),
    tau_low=("DOUBLE", "lower end of tau's 95 % interval"),
    tau_high=("DOUBLE", "upper end of tau's 95 % interval"),
    target_score=("DOUBLE", "the base's dev score on the rung's whole budget"),
    reached=("DOUBLE", "seconds that the stack needs for the target; NULL: not reached"),
    reached_low=("DOUBLE", "the longest budget tried that was too short for it"),
    reached_high=("DOUBLE", "the shortest budget tried that was enough"),
    transfers=("BIGINT", "changes that are better at the higher rung, too"),
    fades=("BIGINT", "changes that are not shown to be"),
    reverses=("BIGINT", "changes that are worse there"),
    changes=("VARCHAR[]", "commits of the consensus, one for each surviving change"),
    before=("VARCHAR", "commit id that the branch was at"),
    how=("VARCHAR", "merge (two parents) or squash (one)"),
    forced=("BOOLEAN", "merged without having been promoted"),
    # cost and counts
    calls=("BIGINT", "calls of the provider"),
    tokens_in=("BIGINT", "tokens that the provider read"),
    tokens_out=("BIGINT", "tokens that the provider wrote"),
    tokens_untold=("BIGINT", "tokens that calls may have taken at most that never told theirs"),
    usd=("DOUBLE", "dollars"),
    requests=("BIGINT", "how often the agent was asked for a proposal"),
    unanswered=("BIGINT", "how often it gave no proposal"),
    trials=("BIGINT", "trials begun, voided ones left out"),
    kept=("BIGINT", "experiments kept"),
    nulls=("BIGINT", "proposals that do nothing and came to a verdict"),
    nulls_kept=("BIGINT", "those of them that the ratchet would have kept"),
    discarded=("BIGINT", "experiments discarded"),
    failed=("BIGINT", "experiments that broke"),
    refused=("BIGINT", "proposals not let in"),
    outdated=("BIGINT", "candidates that the head moved away from before they were measured"),
    count=("BIGINT", "how often it happened"),
    cause=("VARCHAR", "the rule, kind of failure or kind of error behind an ending"),
    example=("VARCHAR", "the reason given the last time"),
    # when
    recorded=("TIMESTAMP", "when it entered the ledger"),
    started=("TIMESTAMP", "when the trial began"),
    ended=("TIMESTAMP", "when it ended"),
    quarantined=("TIMESTAMP", "when it was set apart with an invalid commit; NULL: it was not"),
    latest=("TIMESTAMP", "when it happened last"),
    # coordinators
    action=(
        "VARCHAR",
        "what was done: a run opened, resumed or stopped, a slice set apart or released",
    ),
    stop_limit=("VARCHAR", "the limit that the run was stopped by: minutes, trials, usd or tokens"),
    # how far this file has come
    bytes=("BIGINT", "how much of the ledger is in this file"),
    events=("BIGINT", "how many events that is"),
    code=("VARCHAR", "digest of the code that made this file"),
    link=("VARCHAR", "link of the last line of the ledger that is in this file"),
)


def _named(columns: str) -> tuple[str, ...]:
    return tuple(columns.split())


TABLES: Mapping[str, Table] = {
    "run": Table(
        "The run: one row.",
        _named(
            "run format base branch task data metric direction genome rungs harness seed"
            " baseline_seeds recorded"
        ),
    ),
    "coordinators": Table(
        "Each time that a coordinator opened, resumed or stopped the run.",
        _named("action reason stop_limit recorded"),
        keys=0,
    ),
    "islands": Table(
        "The islands as they began.",
        _named("island branch base agent slice device recorded"),
    ),
    "nodes": Table(
        "The lineage's nodes: commits, and proposals that became none.",
        _named(
            "node kind island experiment agent parent hypothesis notes ending verdict rule failure"
            " reason gain noise pairs step score scores screened harness added removed recorded"
            " ended quarantined"
        ),
    ),
    "edges": Table(
        "The lineage's edges, from older to younger; their kinds stand in analysis/lineage.py.",
        _named("source target kind island experiment gain noise recorded"),
        keys=3,
    ),
    "trials": Table(
        "Every trial, with what came of it.",
        _named(
            "trial experiment island commit purpose seed rung slice split check_number share state"
            " score failure reason"
            " harness sandbox seconds peak_mib facts claims digests tail started ended"
        ),
    ),
    "agent_calls": Table(
        "Each time that an agent was asked: what it cost, and why there was no proposal.",
        _named(
            "experiment island agent error_kind reason calls tokens_in tokens_out tokens_untold usd"
            " recorded"
        ),
        keys=0,
    ),
    "stacks": Table(
        "Every stack check: do kept changes add up? The verdict is additive, short, redundant,"
        " antagonistic or conflict; observed is the whole's gain over the base, gain the commit's.",
        _named(
            "check_number base verdict commit parts dropped culprits expected expected_noise"
            " observed observed_noise gain noise pairs interaction interaction_noise lines_saved"
            " recorded ended"
        ),
    ),
    "arms": Table(
        "Every combination of parts that a stack check put together.",
        _named("check_number parts commit conflict recorded"),
        keys=0,
    ),
    "promotions": Table(
        "Every promotion: does a stack that gained at one rung gain at the next? Gain and noise are"
        " at the higher one; the verdict is transfers, fades or reverses.",
        _named(
            "check_number rung base commit parts verdict reason lower_gain lower_noise gain noise"
            " pairs better_hidden tau tau_low tau_high target_score reached reached_low"
            " reached_high recorded ended"
        ),
    ),
    "contenders": Table(
        "Every change that a promotion measured by itself, against its own parent.",
        _named(
            "check_number experiment kinds lower_gain lower_noise gain noise pairs verdict ended"
        ),
        keys=2,
    ),
    "consensus": Table(
        "Each time that the consensus branch moved.",
        _named("check_number base before commit parts changes recorded"),
        keys=0,
    ),
    "sealed": Table(
        "What the sealed part said, the one time that it was asked.",
        _named("commit base gain noise pairs recorded"),
        keys=0,
    ),
    "quarantines": Table(
        "Each commit that was built on and found invalid, by which trial; nodes.quarantined says"
        " what was set apart with it.",
        _named("commit trial reason recorded"),
        keys=0,
    ),
    "fallbacks": Table(
        "Each time that an island went back from a head that was set apart.",
        _named("trial island head fallback recorded"),
        keys=0,
    ),
    "catch_ups": Table(
        "Each time that an island went to another's head, with the experiments that this added.",
        _named("island origin_island before head parts recorded"),
        keys=0,
    ),
    "slice_quarantines": Table(
        "Each time that a slice was set apart because its sentinels drifted, or came back: how many"
        " trials and discards became void by that.",
        _named("slice action reason good trials discarded recorded"),
        keys=0,
    ),
    "merges": Table(
        "Each time that the consensus, or a head (then there is an island), came home.",
        _named("island head merge branch how forced recorded"),
        keys=0,
    ),
    "projection": Table(
        "How far this file has come; not part of the record.",
        _named("bytes events code link"),
        keys=0,
    ),
}

VIEWS: Mapping[str, View] = {
    "experiments": View(
        "Each proposal's whole life.",
        """
        SELECT experiment, island, agent, parent, if(kind = 'candidate', node, NULL) AS commit,
          hypothesis, notes, ending, verdict, rule, failure, reason, gain, noise, pairs, score,
          scores, screened, added, removed, cost.usd, recorded, ended
        FROM nodes LEFT JOIN (
          SELECT experiment, sum(usd) AS usd FROM agent_calls GROUP BY experiment
        ) AS cost USING (experiment)
        WHERE experiment IS NOT NULL
        ORDER BY experiment
        """,
    ),
    "heads": View(
        "Where each island's branch is: what it kept last, caught up with or fell back to.",
        """
        SELECT island, arg_max(head, (moved, place)) AS head FROM (
          SELECT island, base AS head, recorded AS moved, 0 AS place FROM islands
          UNION ALL SELECT island, node, ended, 1 FROM nodes WHERE ending = 'kept'
          UNION ALL SELECT island, head, recorded, 2 FROM catch_ups
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
          parent, agent, hypothesis, gain, noise, pairs, score, scores, added, removed, recorded,
          ended
        FROM chain JOIN nodes USING (node)
        WHERE ending = 'kept' AND quarantined IS NULL ORDER BY chain.island, step
        """,
    ),
    "migrations": View(
        "Each change that was brought to another island, what it was worth there and here.",
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
        "Each trial that broke, with what was tried.",
        """
        SELECT trial, trials.experiment, trials.island, commit, agent, hypothesis, purpose, seed,
          rung, trials.failure, trials.reason, tail, trials.ended
        FROM trials LEFT JOIN nodes ON nodes.node = trials.commit
        WHERE state = 'failed' ORDER BY trials.ended
        """,
    ),
    "refusals": View(
        "Each proposal that was not let in.",
        """
        SELECT experiment, island, agent, rule, reason, hypothesis, parent, recorded
        FROM nodes WHERE ending = 'refused' ORDER BY experiment
        """,
    ),
    "outcomes_by_reason": View(
        "What came of everything that was not kept, most frequent first.",
        """
        SELECT ending, cause, count(*) AS count, arg_max(reason, ended) AS example,
          max(ended) AS latest
        FROM (
          SELECT ending, coalesce(rule, failure, 'verdict') AS cause, reason, ended
          FROM nodes WHERE ending IN ('refused', 'outdated', 'failed', 'discarded')
          UNION ALL
          SELECT 'unanswered', error_kind, reason, recorded FROM agent_calls
          WHERE error_kind IS NOT NULL
        )
        GROUP BY ending, cause ORDER BY count DESC, ending, cause
        """,
    ),
    "usage": View(
        "What each agent cost on each island and what came of it.",
        """
        SELECT agent, island, requests, unanswered, calls, tokens_in, tokens_out, usd,
          coalesce(kept, 0) AS kept
        FROM (
          SELECT agent, island, count(*) AS requests, count(error_kind) AS unanswered,
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
        "Which kinds of change hold at a higher rung, by what they touch most.",
        """
        SELECT kinds[1] AS touches, count(*) FILTER (verdict = 'transfers') AS transfers,
          count(*) FILTER (verdict = 'fades') AS fades,
          count(*) FILTER (verdict = 'reverses') AS reverses,
          avg(lower_gain) AS lower_gain, avg(gain) AS gain
        FROM contenders GROUP BY touches ORDER BY transfers DESC, touches
        """,
    ),
    "noise": View(
        "How much a score varies between seeds, by the baseline.",
        """
        SELECT stddev_samp(score) AS sigma, count(*)::INTEGER AS scores
        FROM trials WHERE purpose = 'baseline' AND state = 'scored' AND rung = 0
        """,
    ),
    "sentinels": View(
        "How each slice measured one and the same trial, again and again: its mean, its spread, and"
        " how far the latest was from the first. Slices of unlike hardware differ by their means.",
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
        "How often a proposal that does nothing was found worth keeping: the rate of false keeps.",
        """
        SELECT count(*) AS nulls, count(*) FILTER (verdict = 'keep') AS nulls_kept
        FROM nodes WHERE ending = 'null'
        """,
    ),
    "standings": View(
        "How each island stands, best first. The gain is of the head over the base: the sum of the"
        " gains of what it is built on, each as it was when kept; its noise is theirs, added in"
        " squares. Kept are its own.",
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
        ), asked AS (
          SELECT island, count(error_kind) AS unanswered, sum(usd) AS usd FROM agent_calls
          GROUP BY island
        )
        SELECT islands.island, islands.agent, heads.head, head.score,
          head.scores,
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
          LEFT JOIN asked USING (island)
        ORDER BY gain DESC NULLS LAST, islands.island
        """,
    ),
}


def create(con: DuckDBPyConnection) -> None:
    """Make all tables and views, with their comments, in the empty database that `con` uses."""
    for name, table in TABLES.items():
        con.execute(f"CREATE TABLE {name} ({_definition(table)})")
        con.execute(f"COMMENT ON TABLE {name} IS {quoted(table.about)}")
        _describe(con, name)
    for name, view in VIEWS.items():
        con.execute(f"CREATE VIEW {name} AS {view.query}")
        con.execute(f"COMMENT ON VIEW {name} IS {quoted(view.about)}")
        _describe(con, name)


def quoted(text: str) -> str:
    """Return `text` as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _describe(con: DuckDBPyConnection, name: str) -> None:
    for column, *_ in con.execute(f"DESCRIBE {name}").fetchall():
        con.execute(f"COMMENT ON COLUMN {name}.{column} IS {quoted(COLUMNS[column].about)}")


def _definition(table: Table) -> str:
    columns = [f"{name} {COLUMNS[name].type}" for name in table.columns]
    if table.keys:
        columns.append(f"PRIMARY KEY ({', '.join(table.columns[: table.keys])})")
    return ", ".join(columns)
