"""The plan of one launch: islands, limits, rules, folders."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.contract import SandboxKind, Slice, Split
from islands import events as ev
from islands.events.steering import COUNTS, LimitName, ProgramRevised
from islands.genome.admission import AdmissionLimits
from islands.migration import NO_MIGRATION, Migration
from islands.promotion.attempt import PromotionPolicy
from islands.ratchet.policy import RatchetPolicy
from islands.scheduling.arm_choice import DEFAULT_ARMS, ArmPolicy
from islands.stacking.state import NEVER, StackPolicy
from islands.state.arms import ProposalArm
from islands.state.steering import Steering
from swarm.agents.plain_sampling import IID
from swarm.project.runs import RunFolder


@dataclass(frozen=True, slots=True)
class IslandPlan:
    """One island of a launch."""

    name: str
    agent: str
    """Name of an agent of program.md."""

    slice: Slice
    """Its home: the slice that it measures on unless that is quarantined."""

    team: tuple[str, ...] = ()
    """Names of the agents that share its proposals by what they earn, () for `agent` alone."""

    temperaments: tuple[str, ...] = ()
    """Kinds of change that its briefs ask for, () for any."""

    no_temperament: tuple[str, ...] = (IID,)
    """Names of agents that read no such request."""

    @property
    def agents(self) -> tuple[str, ...]:
        """Names of all agents that may propose here."""
        return self.team or (self.agent,)

    @property
    def arms(self) -> tuple[ProposalArm, ...]:
        """Each agent with each temperament that it reads."""
        return tuple(
            dict.fromkeys(
                ProposalArm(agent, "" if agent in self.no_temperament else temperament, self.name)
                for agent in self.agents
                for temperament in self.temperaments or ("",)
            )
        )


@dataclass(frozen=True, slots=True)
class RunLimits:
    """The limits at which a launch ends; None is no limit."""

    minutes: float | None = None
    """Of this launch; the other limits are of the whole run."""

    trials: int | None = None
    usd: float | None = None
    tokens: int | None = None
    stop_at: float | None = None
    """Score of a head at which it stops."""

    stall: int | None = None
    """Trials without a claim after which it stops, counted from the last claim or resume."""

    asked: frozenset[LimitName] = frozenset()
    """Those of the command line: they hold over what a person set in an earlier launch."""

    def over(self, steering: Steering) -> RunLimits:
        """Return these limits with those that a person set, the later word winning."""
        set_ = {
            name: int(value) if name in COUNTS and value is not None else value
            for name, value in steering.limits.items()
            if name in steering.set_now or name not in self.asked
        }
        return replace(self, **set_) if set_ else self  # type: ignore[arg-type]  # by name


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that is fixed for one launch."""

    opening: ev.RunOpened
    """Recorded if the ledger is empty, otherwise compared with the run's own."""

    islands: tuple[IslandPlan, ...]
    ratchet: RatchetPolicy
    admission: AdmissionLimits
    limits: RunLimits
    prose: str
    """The text of program.md, shown to agents."""

    entry: str
    """The genome's file that a trial runs."""

    folder: RunFolder
    sandbox: SandboxKind = "namespaces"
    promotion: PromotionPolicy = PromotionPolicy()
    splits: tuple[Split, ...] = ("dev",)
    """The splits of the held-out data that the task can score a trial on."""

    migration: Migration = NO_MIGRATION
    stacking: StackPolicy = NEVER
    revision: ProgramRevised | None = None
    """What a resumed run takes up from program.md, None for nothing."""

    notify: str = ""
    """The command that announcements are made with, "" for none."""

    notices: tuple[str, ...] = ()
    """What a person should know before it begins, a line each."""

    arms: ArmPolicy = DEFAULT_ARMS
    """How the agents of a team share an island's proposals."""

    summary_every: int = 0
    """Verdicts from one summary of what the run has taught to the next, 0 for none."""

    remembers: bool = True
    """Whether what was tried before answers a proposal, and what is being tried holds it."""
