"""What a quarantine leaves of stack checks, promotions and the consensus: only what is sound."""

import pytest

from harness.contract import Outcome, Rung
from islands import events as ev
from islands.promotion.state import Promotions
from islands.records import Gain
from islands.stacking.state import StackChecks, StackPolicy

GAIN = Gain(0.1, 0.01, 4, 0.001)
ALWAYS = StackPolicy(every=3, share=1.0)


class Fold:
    """The folds of stack checks and of promotions over the same events."""

    def __init__(self):
        self.stacks, self.promotions = StackChecks(), Promotions()
        rungs = (Rung(1, 20.0), Rung(2, 60.0))
        opened = ("r", "base", "main", "lab", "none", "m", "minimize", ("x",), rungs, "h", 7, 4)
        self.take(ev.RunOpened(*opened))

    def take(self, *events):
        for event in events:
            self.stacks.apply(event)
            self.promotions.apply(event)

    def keep(self, number, island, origin=0, recorded=0.0):
        """Keep change `number` as commit `c<number>` on an island."""
        who = (number, island, f"c{number}", "base", "keep", "it gains", GAIN, 1, origin)
        self.take(ev.VerdictReached(*who, recorded=recorded))

    def quarantine(self, *numbers):
        """Drop these changes."""
        commits = tuple(f"c{number}" for number in numbers)
        self.take(ev.CommitQuarantined("", commits[0], commits, (), "dropped"))

    def check(self, number, parts, stay=None):
        """Check `parts`; those that `stay` are the stack `s<number>`."""
        self.take(ev.StackCheckStarted(number, "base", parts))
        self.end_check(number, parts, stay)

    def end_check(self, number, parts, stay=None):
        stay = parts if stay is None else stay
        out = tuple(part for part in parts if part not in stay)
        sums = (GAIN, GAIN, Gain(0.0, 0.01, 4))
        ended = (number, "additive", f"s{number}", stay, out, (), *sums)
        self.take(ev.StackCheckEnded(*ended, gain=GAIN))

    def promote(self, number, parts, commit):
        """Start promotion `number`."""
        start = (number, 1, "base", commit, parts, GAIN, (), 2, 8)
        self.take(ev.PromotionStarted(*start))

    def transfer(self, number, parts, commit):
        """End promotion `number`: it transfers."""
        end = (number, 1, "base", commit, parts, "transfers", "it gains there", GAIN, GAIN)
        self.take(ev.PromotionEnded(*end))

    def build(self, number, parts):
        """Move the consensus branch to the commit `k<number>`."""
        old, commit = self.promotions.branch, f"k{number}"
        self.take(ev.ConsensusMoved(number, "base", old, commit, parts, (commit,)))


@pytest.fixture
def fold():
    """Return folds that have three kept changes, each on an island of its own."""
    made = Fold()
    for number, island in ((14, "a"), (15, "b"), (23, "c")):
        made.keep(number, island)
    return made


def test_a_quarantined_part_takes_stack_promotion_and_consensus_out_of_force(fold):
    """Nothing is promoted or built from them; the branch and the history stay as they are."""
    parts = (15, 14, 23)
    fold.check(1, parts)
    fold.promote(1, parts, "s1")
    fold.transfer(1, parts, "s1")
    fold.build(1, parts)
    fold.quarantine(23)
    promotions = fold.promotions
    assert (promotions.checked_stack, promotions.consensus) == (None, None)
    assert promotions.unbuilt_promotion() is None
    assert promotions.due() is None
    assert promotions.branch == "k1"
    assert [ended.verdict for ended in promotions.ended] == ["transfers"]
    assert [judged.parts for judged in fold.stacks.judged] == [parts]


def test_where_the_last_is_quarantined_the_one_before_it_counts(fold):
    """A stack and a consensus that hold nothing quarantined keep what was measured of them."""
    for number, parts in ((1, (15, 14)), (2, (15, 14, 23))):
        fold.check(number, parts)
        fold.promote(number, parts, f"s{number}")
        fold.transfer(number, parts, f"s{number}")
        fold.build(number, parts)
    fold.quarantine(23)
    assert fold.promotions.checked_stack[0].number == 1
    assert fold.promotions.consensus.commit == "k1"
    assert fold.promotions.branch == "k2"
    assert fold.promotions.due() is None  # it has transferred at the highest rung already


def test_a_promotion_of_a_quarantined_part_is_given_up(fold):
    """Its trials stop, and it never becomes the consensus, even where an older ledger goes on."""
    parts = (15, 14, 23)
    fold.check(1, parts)
    fold.promote(1, parts, "s1")
    assert fold.promotions.next_trial("s0", ()) is not None
    fold.quarantine(23)
    assert fold.promotions.open is None
    assert fold.promotions.next_trial("s0", ()) is None
    fold.transfer(1, parts, "s1")
    assert fold.promotions.unbuilt_promotion() is None
    fold.build(1, parts)
    assert fold.promotions.consensus is None
    fold.promote(2, (15, 14), "s2")  # the next one begins
    assert fold.promotions.open.event.number == 2


def test_a_ledger_that_promotes_what_is_quarantined_is_still_read(fold):
    """As `swarm promote` did: there is no open promotion, and no consensus of it."""
    parts = (15, 14, 23)
    fold.check(1, parts)
    fold.quarantine(23)
    fold.promote(1, parts, "s1")
    assert fold.promotions.open is None
    fold.transfer(1, parts, "s1")
    assert fold.promotions.unbuilt_promotion() is None


@pytest.mark.parametrize("stay", [(15, 14, 23), (15, 23)])
def test_the_rest_of_a_quarantined_stack_is_due_for_a_check(fold, stay):
    """At once, although fewer changes are untried than a check begins after."""
    fold.check(1, (15, 14, 23), stay)
    assert fold.stacks.claimed == []
    fold.quarantine(23)
    assert fold.stacks.due(ALWAYS, 1000) == fold.stacks.due(ALWAYS, 1000, last=True) == (14, 15)
    fold.check(2, (14, 15))
    assert fold.stacks.due(ALWAYS, 1000, last=True) == ()
    assert fold.promotions.checked_stack[0].number == 2


def test_a_part_that_its_check_dropped_takes_nothing_with_it(fold):
    """The stack that is left holds nothing of it."""
    fold.check(1, (15, 14, 23), stay=(15, 14))
    fold.quarantine(23)
    assert fold.promotions.checked_stack[0].number == 1
    assert fold.stacks.due(ALWAYS, 1000, last=True) == ()


def test_a_check_of_a_quarantined_part_is_given_up(fold):
    """The rest is due; a ledger that goes on with the check is read all the same."""
    parts = (15, 14, 23)
    fold.take(ev.StackCheckStarted(1, "base", parts))
    fold.quarantine(23)
    assert fold.stacks.open is None
    assert fold.stacks.wanted("s0") is None
    assert fold.stacks.due(ALWAYS, 1000) == (14, 15)
    trial = ev.TrialStarted("t1", 0, "a", "s1", "stack", 5, 0, "s0", check_number=1)
    fold.take(
        ev.StackCheckAssembled(1, parts, "s1", base="base"),
        trial,
        ev.TrialEnded(trial, Outcome("t1", "h", "namespaces", 1.0)),
    )
    assert list(fold.stacks.under_way[1].scores.values()) == [1.0]
    fold.end_check(1, parts)
    assert fold.promotions.checked_stack is None
    assert fold.stacks.due(ALWAYS, 1000) == (14, 15)
    fold.take(ev.StackCheckStarted(2, "base", (14, 15)))
    assert fold.stacks.open.event.number == 2


def test_a_quarantined_near_miss_is_measured_by_no_promotion(fold):
    """A quarantined commit is no example of anything."""
    for number in (30, 31):
        missed = (number, "a", f"c{number}", "base", "discard", "near", GAIN)
        fold.take(ev.VerdictReached(*missed))
    fold.quarantine(30)
    assert [change.experiment for change in fold.promotions.near_misses] == [31]


@pytest.mark.parametrize("kept_again", ["before", "after"])
def test_another_islands_form_of_a_quarantined_change_is_its_part(kept_again):
    """Of near miss #5, which b and d kept, b's form is dropped: d's is checked in its place."""
    fold = Fold()
    fold.keep(9, "b", origin=5)
    if kept_again == "before":
        fold.keep(15, "d", origin=5)
    fold.keep(16, "d" if kept_again == "before" else "e")
    assert set(fold.stacks.kept) == {9, 16}
    fold.quarantine(9)
    if kept_again == "after":
        fold.keep(15, "d", origin=5)
    assert set(fold.stacks.kept) == {15, 16}
    assert {claim.experiment for claim in fold.stacks.claimed} == {15, 16}
    fold.take(ev.StackCheckStarted(1, "base", (15, 16)))
    beside = fold.stacks.open.claims[16].beside
    assert beside == ({15} if kept_again == "before" else set())
