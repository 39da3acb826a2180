"""The memory of changes: what answers a proposal, and what may be tried again."""

import pytest

from islands.quarantine import REASON
from islands.records import Gain
from islands.state.memory import NEAR_KEEPS, ChangeMemory, PastChange
from islands.state.voids import CHECKS_VOID, TRIALS_VOID

NEAR = frozenset(range(NEAR_KEEPS))
FAR = frozenset(range(NEAR_KEEPS + 1))

REFUTED = Gain(-0.02, 0.01, 1)


def past(ending="discarded", reason="screened below +0.01", gain=REFUTED, **changes):
    """Return what became of experiment 7 on the base."""
    facts = {"experiment": 7, "island": "b", "commit": "c7", "parent": "base"}
    return PastChange(**facts, held=frozenset(), ending=ending, reason=reason, gain=gain, **changes)


def recalled(one, head="base", held=frozenset(), reachable=()):
    """Return what a memory of one past answers on a head."""
    memory = ChangeMemory()
    memory.add("digest", one)
    return memory.recall("digest", head, held, reachable)


OPEN = [
    past(gain=Gain(-0.005, 0.01, 1)),
    past(reason="near miss: 8% chance of no gain (lfsr)", gain=Gain(-0.1, 0.01, 8)),
    past(gain=None, reason="memory: 120 above 100"),
    past("failed", "timeout: 20 s", None),
    past("failed", f"crash: {TRIALS_VOID}: signal", None),
    past("failed", f"check: {CHECKS_VOID}: no space", None),
    past("failed", "check: the checks were void 5 times in a row: FileNotFoundError", None),
]
SHUT = [
    past(),
    past(gain=Gain(0.0, 0.0, 1)),
    past(reason="no gain: 95% chance", gain=Gain(0.001, 0.01, 4, lfsr=0.95)),
    past("failed", "crash: exit status 1", None),
]


@pytest.mark.parametrize("one", SHUT)
def test_a_refuted_change_is_answered_on_near_ancestors(one):
    """On the very head too."""
    assert recalled(one).same_head
    assert not recalled(one, "other", NEAR).same_head
    assert recalled(one, "other", FAR) is None


@pytest.mark.parametrize("one", OPEN)
def test_an_inconclusive_attempt_is_no_refutation(one):
    """On the very same head another try would only draw new noise; elsewhere it is one."""
    assert recalled(one).same_head
    assert recalled(one, "other", NEAR) is None


def test_a_kept_change_is_answered_while_the_island_may_get_it():
    """Or holds it."""
    kept = past("kept", "better", Gain(0.1, 0.01, 4))
    assert recalled(kept, reachable={7}).past == kept
    assert recalled(kept, reachable={8}) is None


@pytest.mark.parametrize("ending", ["void", "outdated", "refused", "null"])
def test_what_was_never_judged_is_not_remembered(ending):
    """It may be proposed again at once."""
    assert recalled(past(ending)) is None


def test_void_discards_are_forgotten_and_quarantined_keeps_have_failed():
    """What was compared with an invalid head tells nothing."""
    memory = ChangeMemory()
    memory.add("digest", past())
    memory.drop({7, 8})
    assert memory.recall("digest", "base", frozenset(), ()) is None
    memory.add("digest", past("kept", "better"))
    memory.quarantine({"c7"}, REASON)
    assert memory.recall("digest", "base", frozenset(), ()).past.reason == REASON
    memory.quarantine({"base"}, REASON)
    assert memory.recall("digest", "base", frozenset(), ()) is None
