"""Runner of the function task: calls evaluate.py, which calls the genome in another sandbox.

`function_evaluate.py WIRE CHANNEL EVALUATE CWD SEED DEPTH PART HELD ROOT...` runs inside a sandbox
that holds the frozen files, of the held ones those of PART, and none of the candidate's. Frames go
to the harness on the descriptor CHANNEL; the harness passes calls on and takes the time. HELD is
the path of the held file or folder, "" for none; CWD and the folders ROOT are imported from.
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from functools import partial
from importlib import util
from pathlib import Path
from typing import Any

KNOWN = ("candidate", "seed", "part", "reference", "depth")
"""What evaluate may take, by name."""


class CandidateError(Exception):
    """The candidate failed: it raised an exception, ended, or returned what is not plain data."""


class RefusedError(Exception):
    """Raised by evaluate: the candidate is refused, and the message is for its agent."""


class RemoteGenome:
    """A genome in a sandbox of its own: `candidate.solve(x)` calls its function `solve`.

    Arguments and results are plain data: numbers, text, lists, dicts with text as keys, numpy
    arrays of numbers. Raises `candidate.Error`. Set `nonfinite` to True to let NaN and infinities
    in results pass. Raise `candidate.Refused("why")` to refuse it.
    """

    Error = CandidateError
    Refused = RefusedError

    def __init__(self, wire: Any, channel: int, target: int) -> None:  # noqa: ANN401  # a module
        self._wire, self._channel, self._target = wire, channel, target
        self._whose = "" if target == wire.CANDIDATE else "reference: "
        self.nonfinite = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # a function of the genome
        """Return the genome's function `name`."""
        if name.startswith("_"):
            raise AttributeError(name)
        return partial(self.call, name)

    def call(self, name: str, /, *args: Any, **named: Any) -> Any:  # noqa: ANN401
        """Call a function whose name one of these methods has taken."""
        return self.timed(name, *args, **named)[0]

    def timed(self, name: str, /, *args: Any, **named: Any) -> tuple[Any, float]:  # noqa: ANN401
        """Call a function; return its result and the seconds that it took, taken outside it.

        They hold some 0.2 ms for the way there and back.
        """
        return self._ask({"name": name, "args": args, "named": named})

    def timed_each(self, name: str, inputs: Any, /) -> tuple[list[Any], float]:  # noqa: ANN401
        """Call a function on each of `inputs` in turn; return the results and the seconds of all.

        For functions too quick to be timed one call at a time. Let no two inputs be equal: it may
        remember results.
        """
        inputs = list(inputs)
        results, seconds = self._ask({"name": name, "each": inputs})
        if type(results) is not list or len(results) != len(inputs):
            raise CandidateError(f"{self._whose}{name}: it did not answer each input")
        return results, seconds

    def fresh(self) -> None:
        """Start its process afresh, so that nothing is remembered from the calls before."""
        self._exchange(self._wire.Frame(self._wire.FRESH, target=self._target), "its fresh start")

    def _ask(self, call: dict[str, Any]) -> tuple[Any, float]:
        frame = self._wire.Frame.of(self._wire.CALL, call, self._target)
        reply = self._exchange(frame, call["name"])
        try:
            return reply.value(finite=not self.nonfinite), reply.seconds
        except self._wire.WireError as error:
            raise CandidateError(f"{self._whose}{call['name']}: {error}") from None

    def _exchange(self, frame: Any, what: str) -> Any:  # noqa: ANN401
        self._wire.send(self._channel, frame)
        reply = self._wire.receive(self._channel)
        if reply is None:
            os._exit(1)  # the harness has ended the trial
        if reply.op == self._wire.VALUE:
            return reply
        try:
            text = str(reply.value())
        except self._wire.WireError as error:
            text = str(error)
        raise CandidateError(f"{self._whose}{what}: {one_line(text)}")


def main(  # noqa: PLR0913, PLR0917  # the words of a command line
    wire_file: str,
    channel: str,
    evaluate_file: str,
    cwd: str,
    seed: str,
    depth: str,
    part: str,
    held: str,
    *roots: str,
) -> None:
    """Call evaluate and send its result, or what it raised."""
    wire = load("swarm_wire", wire_file)
    os.environ.update(SWARM_SEED=seed, SWARM_DEPTH=depth, SWARM_PART=part, SWARM_HELD=held)
    number = int(channel)
    given = {
        "candidate": RemoteGenome(wire, number, wire.CANDIDATE),
        "seed": int(seed),
        "part": part,
    }
    given |= {"reference": RemoteGenome(wire, number, wire.REFERENCE), "depth": int(depth)}
    wire.send(number, wire.Frame(wire.STARTED))
    try:
        os.chdir(cwd)
        sys.path[:0] = [str(Path(evaluate_file).parent), cwd, *roots]
        evaluate = load("evaluate", evaluate_file).evaluate
        wanted = inspect.signature(evaluate).parameters
        found = evaluate(**{name: value for name, value in given.items() if name in wanted})
        result = wire.Frame.of(wire.RESULT, found)
    except BaseException as error:  # noqa: BLE001  # also SystemExit: the trial fails
        traceback.print_exc()
        text = one_line(f"{type(error).__name__}: {error}")
        frames = reversed(traceback.extract_tb(error.__traceback__))
        line = next((frame.lineno for frame in frames if frame.filename == evaluate_file), 0)
        candidate, refused = isinstance(error, CandidateError), isinstance(error, RefusedError)
        fault = {"candidate": candidate, "refused": refused, "text": text, "line": line}
        fault["type"] = one_line(type(error).__name__)[:80]
        if candidate or refused:
            fault["text"] = one_line(str(error))
        result = wire.Frame.of(wire.FAULT, fault)
    wire.send(number, result)
    wire.receive(number)  # live on until the harness has looked at its CPU time


def one_line(text: str) -> str:
    """Return untrusted text as one printable line."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())[:400]


def load(name: str, path: str) -> Any:  # noqa: ANN401  # a module of functions
    """Return the module in the file `path` by the given name."""
    spec = util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(*sys.argv[1:])
