"""The next step that a launch names at its end."""

from types import SimpleNamespace

import pytest

from swarm.cli.next_step import Results, next_step


def standing(merged=(), built=None, since=(), heads=(), limit=None):
    """Return as much of a state as decides it; `built` is the consensus and its parts.

    `since` are the changes that were kept since.
    """
    consensus = built and SimpleNamespace(commit=built[0], recorded=1.0)
    ended = [SimpleNamespace(parts=built[1])] if built else []
    return SimpleNamespace(
        merges=[SimpleNamespace(head=head) for head in merged],
        promotions=SimpleNamespace(consensus=consensus, ended=ended),
        stacks=SimpleNamespace(kept={n: SimpleNamespace(recorded=2.0) for n in since}),
        stopped=SimpleNamespace(limit=limit),
        islands={head: SimpleNamespace(kept=[1], head=head) for head in heads},
    )


@pytest.mark.parametrize(
    ("state", "says", "not_said"),
    [
        (standing(), "`swarm launch` resumes the run", "merge`"),
        (standing(limit="minutes"), "`swarm launch` resumes the run", "--"),
        (standing(limit="trials"), "`swarm launch --trials N` resumes", "launch`"),
        (standing(limit="usd"), "`swarm launch --max-usd USD`, with more", "launch`"),
        (standing(limit="tokens"), "`swarm launch --max-tokens N`, with more", "launch`"),
        (standing(limit="ideas"), "`swarm launch --agent NAME` resumes", "launch`"),
        (standing(heads=["h"]), "`swarm promote`, then `swarm merge`", "--new"),
        (standing(heads=["h"], built=("c", (1,))), "then `swarm merge`", "promote"),
        (standing(["c"], ("c", (1,)), [1], ["h"]), "is merged; `swarm launch", "`swarm merge`"),
        (standing(["c"], ("c", (1,)), [1, 2], ["h"]), "promote` measures", "`swarm merge`"),
        (standing(["b"], ("c", (1,)), [], ["h"]), "then `swarm merge`", "--new"),
        (standing(["h"], None, [1], ["h"]), "all that was kept is merged", "`swarm merge`"),
    ],
)
def test_what_is_merged_is_never_offered_again(state, says, not_said):
    """What was kept since can be promoted; else a new run starts from the merge.

    Nor is a launch that would end at once, at the limit of the last one.
    """
    assert says in next_step(Results.of_state(state))
    assert not_said not in next_step(Results.of_state(state))
