"""What is fixed for one launch: islands, limits, rules, folders."""

from __future__ import annotations

from dataclasses import dataclass

from harness.contract import SandboxKind, Slice, Split
from islands import events as ev
from islands.genome.admission import AdmissionLimits
from islands.migration import STAY, Migration
from islands.promotion.attempt import PromotionPolicy
from islands.ratchet.policy import RatchetPolicy
from islands.stacking.state import NEVER, StackPolicy
from swarm.project.runs import RunFolder


@dataclass(frozen=True, slots=True)
class IslandPlan:
    """An island to be: its name, its agent and the slice it is measured on."""

    name: str
    agent: str
    slice: Slice


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Where a launch ends; None is no bound. Minutes are of this launch, the rest of the run."""

    minutes: float | None = None
    trials: int | None = None
    usd: float | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """All that is fixed for one launch; `opening` opens the run if its ledger is empty.

    `splits` are what the task can score a trial on.
    """

    opening: ev.RunOpened
    islands: tuple[IslandPlan, ...]
    ratchet: RatchetPolicy
    admission: AdmissionLimits
    limits: RunLimits
    prose: str
    entry: str
    folder: RunFolder
    sandbox: SandboxKind = "namespaces"
    promotion: PromotionPolicy = PromotionPolicy()
    splits: tuple[Split, ...] = ("dev",)
    migration: Migration = STAY
    stacking: StackPolicy = NEVER
