"""Views of `lineage.duckdb`, which answer common questions in a word (`FROM standings`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class View:
    """A view: what it shows, and its query."""

    about: str
    query: str


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
    "launches": View(
        "When a coordinator ran: from each start or resume to its stop; of one that was killed, or"
        " runs still, to the last that it recorded.",
        """
        WITH starts AS (
          SELECT recorded AS started, lead(recorded) OVER (ORDER BY recorded) AS following
          FROM coordinators WHERE action <> 'stopped'
        ), acts AS (
          SELECT recorded AS moment, true AS stop FROM coordinators WHERE action = 'stopped'
          UNION ALL SELECT started, false FROM trials
          UNION ALL SELECT ended, false FROM trials WHERE cause IS DISTINCT FROM 'lost'
          UNION ALL SELECT recorded, false FROM nodes
          UNION ALL SELECT ended, false FROM nodes
        )
        SELECT starts.started,
          coalesce(min(moment) FILTER (stop), max(moment), starts.started) AS ended
        FROM starts LEFT JOIN acts
          ON moment >= starts.started AND (following IS NULL OR moment < following)
        GROUP BY starts.started ORDER BY starts.started
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
          CASE WHEN node.ending = 'kept' AND node.quarantined IS NOT NULL THEN 'quarantined'
            WHEN node.ending = 'kept' THEN 'worked'
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
    "voids": View(
        "Void trials by slice and cause, the most frequent first, and the wall time that they"
        " took.",
        """
        SELECT slice, cause, count(*) AS count, sum(epoch(ended) - epoch(started)) AS duration,
          arg_max(reason, ended) AS example, max(ended) AS latest
        FROM trials WHERE state = 'voided'
        GROUP BY slice, cause ORDER BY count DESC, slice, cause
        """,
    ),
    "usage": View(
        "What each agent cost on each island, and how much of it was kept.",
        """
        SELECT agent, island, requests, unanswered, calls, tokens_in, tokens_out, usd,
          coalesce(kept, 0) AS kept
        FROM (
          SELECT agent, island, count(*) FILTER (error_kind IS DISTINCT FROM 'summary') AS requests,
            count(*) FILTER (error_kind NOT IN ('exhausted', 'summary')) AS unanswered,
            sum(calls)::BIGINT AS calls, sum(tokens_in)::BIGINT AS tokens_in,
            sum(tokens_out)::BIGINT AS tokens_out, sum(usd) AS usd
          FROM agent_calls GROUP BY agent, island
        ) LEFT JOIN (
          SELECT agent, island, count(*) AS kept FROM nodes
          WHERE ending = 'kept' AND quarantined IS NULL
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
          WHERE purpose = 'sentinel' AND experiment IS NULL)
        WHERE state = 'scored' AND (purpose = 'sentinel' AND experiment IS NULL
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
            count(*) FILTER (ending = 'kept' AND quarantined IS NOT NULL) AS kept_quarantined,
            count(*) FILTER (ending = 'failed') AS failed,
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
          coalesce(kept_quarantined, 0) AS kept_quarantined,
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
