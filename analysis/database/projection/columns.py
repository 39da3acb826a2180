"""Columns of `lineage.duckdb`: each name has one type and one meaning in all tables and views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its SQL type and its meaning."""

    type: str
    about: str


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
        "worked, failed, conflicted, already there, refused, outdated or quarantined; NULL: open",
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
    kept_quarantined=(
        "BIGINT",
        "number of experiments kept whose commit was quarantined since, or dropped by a person",
    ),
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
    cause=(
        "VARCHAR",
        "the rule, kind of failure or of error behind an ending; of a void trial: why it is void",
    ),
    example=("VARCHAR", "the latest reason"),
    # when
    recorded=("TIMESTAMP", "when it was added to the ledger"),
    started=("TIMESTAMP", "when the trial, or the launch, started"),
    ended=("TIMESTAMP", "when it ended"),
    quarantined=(
        "TIMESTAMP",
        "when it, or a part of it, was quarantined with an invalid or dropped one; NULL: never",
    ),
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
