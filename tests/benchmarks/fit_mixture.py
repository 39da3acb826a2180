"""Fits the effect mixture `published` to autoresearch's published log of one run.

    python -m tests.benchmarks.fit_mixture LOG.tsv [--noise 0.0003 0.0004 0.0005] [--parts 3]

The log (commit, val_bpb, memory_gb, status, description) gives one score for each change, tried on
the head at that time. A head's score was kept because it was low, so that it flatters the head:
differences to it are no unbiased effects. Here the heads' true scores are hidden states instead.
A change of effect e on a head of true score x scores x - e plus noise, and x - e is the next
head's true score if it is kept. Whether it is kept depends on what was seen alone, so that
selection drops out of the likelihood. Effects are a mixture of normals, fitted by
expectation-maximisation with forward and backward passes over a grid of true scores.

A change of the seed alone has no effect. Crashes, and scores far out of range (one change broke the
model: 3.2), are counted apart. The first part of the mixture does exactly
nothing. The noise of a score is given: the log-likelihoods that are printed help to choose it.

Not covered: effects that shrink during a run; interactions; noise that is not normal.
"""

import argparse
import csv
import math
from pathlib import Path

import numpy as np

STEP = 2e-5
BROKEN = 0.1
"""A score worse than the start by more than this is of a broken model."""


def read(path):
    """Return the first score, the tried (score, kept, nil) in order, and the share broken."""
    with Path(path).open() as file:
        first, *rows = csv.DictReader(file, delimiter="\t")
    start = float(first["val_bpb"])
    scores = [float(row["val_bpb"]) for row in rows]
    tried = [
        (score, row["status"] == "keep", row["description"].startswith("random seed"))
        for score, row in zip(scores, rows, strict=True)
        if row["status"] != "crash" and score < start + BROKEN
    ]
    return start, tried, 1 - len(tried) / len(rows)


def normal(d, mean, sd):
    """Return the normal density."""
    return np.exp(-(((d - mean) / sd) ** 2) / 2) / (sd * math.sqrt(2 * math.pi))


class Fit:
    """A mixture of normals (weights, means, sds), the noise of a score, and their likelihood."""

    def __init__(self, start, tried, noise, parts):
        self.start, self.tried, self.noise = start, tried, noise
        low = min(score for score, *_ in tried) - 5 * noise
        self.x = np.arange(low, start + 5 * noise, STEP)
        self.e = np.arange(1 - len(self.x), len(self.x)) * STEP
        self.weights = np.full(parts, 1 / parts)
        self.means = np.r_[0.0, np.linspace(-0.0015, 0.0005, parts - 1)]
        self.sds = np.r_[0.0, np.geomspace(0.003, 0.0006, parts - 1)]

    def seen(self, score, nil):
        """Return each part's density of `score` over the head's true score."""
        d = self.x - score
        if nil:
            return normal(d, 0, self.noise)[None]
        parts = zip(self.weights, self.means, self.sds, strict=True)
        return np.array([w * normal(d, m, math.hypot(s, self.noise)) for w, m, s in parts])

    def effects(self):
        """Return each part's probability of each effect on the grid of differences."""
        parts = zip(self.weights, self.means, self.sds, strict=True)
        nil, *rest = (w * (normal(self.e, m, s) if s else self.e == 0) for w, m, s in parts)
        return np.array([nil, *(density * STEP for density in rest)])

    def expect(self):
        """Return the log-likelihood and each part's count, sum and sum of squares of effects."""
        move = self.effects()
        total, n = move.sum(axis=0), len(self.x)
        forward, log = [normal(self.x, self.start, self.noise)], 0.0
        for score, kept, nil in self.tried:
            now = forward[-1]
            if kept:  # the next true score is x - e
                then = np.convolve(now, total[::-1])[n - 1 : 2 * n - 1]
                then = then * normal(self.x, score, self.noise)
            else:
                then = now * self.seen(score, nil).sum(axis=0)
            log += math.log(then.sum() / now.sum())
            forward.append(then / then.sum())
        sums, after = np.zeros((3, len(self.weights))), np.ones(n)
        for (score, kept, nil), now in zip(self.tried[::-1], forward[-2::-1], strict=True):
            if kept:
                new = after * normal(self.x, score, self.noise)
                joint = np.correlate(now, new, "full") * move  # over effects
                joint /= joint.sum()
                sums += [joint.sum(1), (joint * self.e).sum(1), (joint * self.e**2).sum(1)]
                after = np.convolve(new, total)[n - 1 : 2 * n - 1]
            else:
                seen = self.seen(score, nil)
                joint = now * after * seen
                if not nil:
                    sums += self._hidden(joint / joint.sum(), self.x - score)
                after = after * seen.sum(axis=0)
            after /= after.sum()
        return log, sums

    def _hidden(self, joint, d):
        """Return count, sum and sum of squares of an effect of which d = effect + noise is seen."""
        share = (self.sds**2 / (self.sds**2 + self.noise**2))[:, None]
        mean = self.means[:, None] + share * (d - self.means[:, None])
        square = mean**2 + share * self.noise**2
        return [joint.sum(1), (joint * mean).sum(1), (joint * square).sum(1)]

    def run(self, rounds):
        """Maximise; return the log-likelihood."""
        for _ in range(rounds):
            log, (count, one, two) = self.expect()
            self.weights, self.means = count / count.sum(), one / count
            self.sds = np.sqrt(np.maximum(two / count - self.means**2, (2 * STEP) ** 2))
            self.means[0] = self.sds[0] = 0.0
        return log


def main():
    """Fit at each noise asked for, and print the parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("log")
    parser.add_argument("--noise", type=float, nargs="+", default=[4e-4])
    parser.add_argument("--parts", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=400)
    options = parser.parse_args()
    start, tried, broken = read(options.log)
    print(f"{len(tried)} scores, {sum(kept for _, kept, _ in tried)} kept, broken {broken:.3f}")
    for noise in options.noise:
        fit = Fit(start, tried, noise, options.parts)
        log = fit.run(options.rounds)
        print(f"noise {noise:.5f}: log-likelihood {log:.2f}")
        for w, m, s in zip(fit.weights, fit.means, fit.sds, strict=True):
            print(f"    {w:.3f} of N({m:+.6f}, {s:.6f})")


if __name__ == "__main__":
    main()
