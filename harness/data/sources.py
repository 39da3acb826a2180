"""The sources of each corpus: the module that prepares it, and the options that it takes.

A corpus is described by a `CorpusSource`; `swarm prepare` reads its options from there. The
modules that build (kjv, climbmix) load a tokenizer, DuckDB or an HTTP client, so they are imported
only when something must be built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.contract import SetupError
from harness.data.cache import Progress, disk_errors, locked
from harness.data.corpus import Corpus, CorpusIdentity, open_at
from harness.data.spec import (
    CLIMBMIX,
    CLIMBMIX_LAST,
    CLIMBMIX_SHARDS,
    CLIMBMIX_URL,
    KJV,
    CorpusSpec,
    climbmix_source,
)
from harness.data.writer import publish, recheck
from harness.installation import require_extra

Options = Mapping[str, object]
"""Values of the options that the user gave, by name."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option of `swarm prepare` that belongs to one corpus.

    name: as a Python name; on the command line `--base-url` for `base_url`
    help: one sentence
    default: what a new corpus is built with if it is not given
    kind: the type of its values
    """

    name: str
    help: str
    default: int | str
    kind: type[int] | type[str]

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        return "--" + self.name.replace("_", "-")


@dataclass(frozen=True, slots=True)
class CorpusSource:
    """A corpus that can be prepared.

    spec: what the corpus is
    summary: one line for users
    build: makes the files in `root`/.draft and returns what pins them
    options: what the user can choose
    check: raises SetupError if an option's value is out of range
    accepts: says whether a prepared corpus is what the options ask for
    bundled: whether all of its text comes with the installation, so that building needs no network
    """

    spec: CorpusSpec
    summary: str
    build: Callable[[Path, Options, Progress], CorpusIdentity]
    options: tuple[Option, ...] = ()
    check: Callable[[Options], None] = lambda _: None
    accepts: Callable[[Corpus, Options], bool] = lambda *_: True
    bundled: bool = False

    @property
    def name(self) -> str:
        """The corpus's name."""
        return self.spec.name

    def prepare(self, root: Path, options: Options, progress: Progress) -> Corpus:
        """Return the corpus below `root`, built first if it is not there or not as asked.

        Any number of processes may call this at once. An interrupted build resumes. Raises
        SetupError if an option is wrong or the disk, the network or the server fails.
        """
        self.check(options)
        with disk_errors(root):
            # First without the lock, so that a read-only cache can be opened.
            prepared = self._prepared(root, options, progress, restamp=False)
            return prepared or self._prepare_locked(root, options, progress)

    def _prepare_locked(self, root: Path, options: Options, progress: Progress) -> Corpus:
        with locked(root, progress):
            prepared = self._prepared(root, options, progress, restamp=True)
            if prepared is None:
                publish(root, root / ".draft", self.build(root, options, progress))
                prepared = open_at(root, self.spec)
            return prepared

    def _prepared(
        self, root: Path, options: Options, progress: Progress, *, restamp: bool
    ) -> Corpus | None:
        try:
            corpus = recheck(root, self.spec, progress, restamp=restamp)
        except SetupError:
            return None
        return corpus if self.accepts(corpus, options) else None


def _build_kjv(root: Path, options: Options, progress: Progress) -> CorpusIdentity:
    del options
    require_extra("gpt", "corpus kjv", ("rustbpe",))
    from harness.data import kjv  # noqa: PLC0415 - see the module's docstring

    return kjv.build(root / ".draft", progress)


def _build_climbmix(root: Path, options: Options, progress: Progress) -> CorpusIdentity:
    require_extra("gpt", "corpus climbmix", ("rustbpe",))
    from harness.data import climbmix  # noqa: PLC0415 - see the module's docstring

    url = str(options.get("base_url", CLIMBMIX_URL))
    return climbmix.build(root, progress, _shards(options), url)


def _shards(options: Options) -> int:
    return int(str(options.get("shards", CLIMBMIX_SHARDS)))


def _check_climbmix(options: Options) -> None:
    if not 1 <= _shards(options) <= CLIMBMIX_LAST:
        raise SetupError(f"--shards {_shards(options)}: choose 1 to {CLIMBMIX_LAST}")


def _accepts_climbmix(corpus: Corpus, options: Options) -> bool:
    """Say whether a prepared corpus has the shards asked for; any number will do if none is."""
    return "shards" not in options or corpus.source == climbmix_source(_shards(options))


_SOURCES = (
    CorpusSource(
        spec=KJV,
        summary="the King James Bible; bundled, for CPUs and tests",
        build=_build_kjv,
        bundled=True,
    ),
    CorpusSource(
        spec=CLIMBMIX,
        summary="shards of karpathy/climbmix-400b-shuffle; downloaded, for GPUs",
        build=_build_climbmix,
        options=(
            Option("shards", "Number of shards to train on.", CLIMBMIX_SHARDS, int),
            Option("base_url", "A mirror to download the shards from.", CLIMBMIX_URL, str),
        ),
        check=_check_climbmix,
        accepts=_accepts_climbmix,
    ),
)

CORPORA: Mapping[str, CorpusSource] = {source.name: source for source in _SOURCES}
"""Every corpus by its name."""


def given_options(source: CorpusSource, options: Options) -> Options:
    """Return the `options` that are not None. Raises SetupError if one is not of `source`."""
    given = {name: value for name, value in options.items() if value is not None}
    for name in given.keys() - {option.name for option in source.options}:
        flag = "--" + name.replace("_", "-")
        owners = [
            f"--data {other.name}"
            for other in _SOURCES
            if name in {option.name for option in other.options}
        ]
        fix = f"it goes with {' or '.join(owners)}" if owners else "no corpus has it"
        raise SetupError(f"{flag} is not an option of --data {source.name}: {fix}")
    return given
