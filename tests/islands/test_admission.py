"""What is let in and what is refused, by which rule; hostile proposals never raise."""

import posixpath
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from islands.genome.admission import AdmissionLimits, Admitted, Refused, admit, is_inside
from islands.genome.syntax_diff import compare
from islands.records import Entry, Proposal

GENOME = ("gen/", "solo.py")
ENTRY = "gen/train.py"
TRAIN = b'"""Train."""\nimport torch\n\nSEED = 1\nRATE = 0.1  # a knob\ntorch.manual_seed(SEED)\n'
HEAD = {
    ENTRY: Entry(TRAIN),
    "gen/notes.txt": Entry(b"width: 3\nseed: 1\n"),
    "gen/tool.sh": Entry(b"#!/bin/sh\n", "100755"),
    "gen/link": Entry(b"/etc/passwd", "120000"),
    "gen/module": Entry(b"", "160000"),
    "solo.py": Entry(b"x = 1\n"),
}
LIMITS = AdmissionLimits(file_bytes=2_000, total_bytes=4_000, files=8)


def answer(files, head=HEAD, limits=LIMITS):
    """Return what admission makes of `files`."""
    return admit(Proposal("h", files), head, GENOME, limits, ENTRY)


def rule(files, **more):
    """Return the rule that refuses `files`, "" where they are let in."""
    found = answer(files, **more)
    if isinstance(found, Admitted):
        return ""
    assert "\n" not in found.reason
    assert found.reason.isprintable()
    assert len(found.reason) < 700
    return found.rule


def text(source):
    """Return an entry that holds `source`."""
    return Entry(source if isinstance(source, bytes) else source.encode())


def train(old, new):
    """Return a change of train.py that replaces `old` with `new`."""
    assert old in TRAIN.decode()
    return {ENTRY: text(TRAIN.decode().replace(old, new))}


def test_a_change_inside_the_genome_is_let_in():
    """A changed knob, a new file, a deleted file and a file with an odd name are all changes."""
    change = {
        **train("0.1", "0.2"),
        "gen/new/deep.py": text("y = 1\n"),
        "gen/notes.txt": None,
        'gen/it\'s "Ü" .md': text("words\n"),
    }
    assert answer(change) == Admitted(change)


def test_what_does_not_differ_is_left_out():
    """Files proposed as they are, and deletions of files that are not there, are no change."""
    same = {"solo.py": HEAD["solo.py"], "gen/gone.py": None}
    changed = train("0.1", "0.2")
    assert answer({**same, **changed}) == Admitted(changed)
    assert rule(same) == "nothing"
    assert rule({}) == "nothing"


OUTSIDE = [
    "harness.py",
    "generator.py",
    "gen",  # the folder's own name; clash sees that it is one
    "/gen/train.py",
    "/etc/passwd",
    "gen/../harness.py",
    "../gen/train.py",
    "gen/./train.py",
    "gen//train.py",
    "gen/",
    "",
    "./gen/train.py",
    "gen\\train.py",
    "gen/a\\..\\b.py",
    "GEN/train.py",
    "gen/a\nb.py",
    "gen/a\0b.py",
    "gen/\x1b[2J.py",
    "gen/a\u202eyp.py",
    "gen/a\u200d.py",
    "gen/e\u0301.py",
    "gen/a\u00a0b.py",
    "gen/\ud800.py",
    "gen/a.py.",
    "gen/a.py ",
    "gen/... /a.py",
    "gen/C:evil.py",
    "gen/.gitattributes",
    "gen/.GITATTRIBUTES",
    "gen/.gitmodules",
    "gen/.gitignore",
    "gen/.git",
    "gen/.git/hooks/x",
    "gen/buried/HEAD",
    "gen/buried/head",
    "gen/.Git/config",
    "gen/.g\u0131t/config".replace("\u0131", "I"),
    "gen/git~1/config",
    "gen/GIT~2",
    "gen/\uff0egit/config",
    "gen/.\u200cgit/config",
    "gen/.git\u200c/config",
    "gen/.git::$INDEX_ALLOCATION/config",
    "gen/" + "a" * 256,
    "gen/" + "é" * 128,
    "gen/" + "a/" * 600 + "b",
    "x" * 1_000_000,
]


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda path: ascii(path)[:40])
def test_paths_outside_the_genome_are_refused(path):
    """No path that leaves the genome, or that some reader takes for another, is let in."""
    assert rule({path: text("x = 1\n")}) == ("clash" if path == "gen" else "outside")
    assert rule({path: None, **train("0.1", "0.2")}) == ("outside" if path != "gen" else "")


def test_a_refusal_says_what_is_allowed():
    """The reason names the file and the paths that may be changed."""
    found = answer({"harness.py": text("x = 1\n")})
    reason = "harness.py is outside the genome; change only: gen/, solo.py"
    assert found == Refused("outside", reason)


@pytest.mark.parametrize("mode", ["120000", "160000"])
def test_links_are_refused(mode):
    """Neither a symbolic link nor a submodule is let in, new or in a file's place."""
    assert rule({"gen/new": Entry(b"/etc/passwd", mode)}) == "link"
    assert rule({ENTRY: Entry(b"/etc/passwd", mode)}) == "link"


@pytest.mark.parametrize("path", ["gen/link", "gen/module"])
def test_links_of_the_head_stay(path):
    """A link that the head holds is neither replaced nor deleted, nor is a file put below it."""
    assert rule({path: text("x = 1\n")}) == "link"
    assert rule({path: None}) == "link"
    assert rule({f"{path}/x.py": text("x = 1\n")}) == "clash"
    assert rule(train("0.1", "0.2")) == ""


@pytest.mark.parametrize("mode", ["100755", "040000", "100664", "", "x" * 9999, "1\n"])
def test_modes_are_not_the_agents_to_change(mode):
    """A new executable, and a mode that git does not know, are refused."""
    assert rule({"gen/new.py": Entry(b"x = 1\n", mode)}) == "mode"
    assert rule({ENTRY: Entry(TRAIN + b"x = 1\n", mode)}) == "mode"


def test_an_executable_stays_one():
    """Text proposed for an executable file keeps the file's mode; mode alone is no change."""
    wanted = Admitted({"gen/tool.sh": Entry(b"#!/bin/bash\n", "100755")})
    assert answer({"gen/tool.sh": text("#!/bin/bash\n")}) == wanted
    assert answer({"gen/tool.sh": Entry(b"#!/bin/bash\n", "100755")}) == wanted
    assert rule({"gen/tool.sh": text("#!/bin/sh\n")}) == "nothing"


@pytest.mark.parametrize("data", [b"a\0b", b"\xff\xfe", b"\x89PNG\r\n", b"x = '\xed\xa0\x80'\n"])
def test_binaries_are_refused(data):
    """A file with null bytes, or that is not UTF-8, is refused under any name."""
    assert rule({"gen/new.txt": text(data)}) == "binary"
    assert rule({ENTRY: text(data)}) == "binary"


def test_sizes_are_bounded():
    """A file, the genome and the number of files have limits; ten megabytes are far beyond."""
    assert rule({"gen/big.txt": text(b"a" * 2_000)}) == ""
    assert rule({"gen/big.txt": text(b"a" * 2_001)}) == "size"
    assert rule({"gen/big.py": text(b"(" * 10_000_000)}) == "size"
    assert rule({"gen/b1.txt": text(b"a" * 2_000), "gen/b2.txt": text(b"a" * 2_000)}) == "size"
    assert rule({f"gen/{n}.txt": text("a") for n in range(2)}) == ""
    assert rule({f"gen/{n}.txt": text("a") for n in range(3)}) == "size"
    assert rule(dict.fromkeys((f"gen/{n}.txt" for n in range(9)), None)) == "size"


def test_a_genome_that_began_too_large_may_change_and_shrink():
    """Limits bound growth: a user's large genome is not shut out, but grows no further."""
    small = AdmissionLimits(file_bytes=2_000, total_bytes=20, files=2)
    assert rule(train("0.1", "0.2"), limits=small) == ""
    assert rule(train("0.1", "0.25"), limits=small) == "size"
    assert rule({"gen/new.txt": text("a"), "gen/notes.txt": None}, limits=small) == ""
    assert rule({"gen/new.txt": text("a")}, limits=small) == "size"


def test_names_that_collide_are_refused():
    """No file may differ from another by case alone, nor stand where a folder or a file is."""
    assert rule({"gen/TRAIN.py": text("x = 1\n")}) == "clash"
    assert rule({"gen/a.py": text("x = 1\n"), "gen/A.py": text("x = 2\n")}) == "clash"
    assert rule({"gen/Train.py/x.py": text("x = 1\n")}) == "clash"
    assert rule({"gen/a": text("x"), "gen/a/b": text("x")}) == "clash"
    assert rule({"gen/Notes.txt": text("x"), "gen/notes.txt": None}) == ""


def test_the_entry_file_stays():
    """The file that a trial starts from is not deleted."""
    found = answer({ENTRY: None})
    assert isinstance(found, Refused)
    assert found.rule == "entry"
    assert ENTRY in found.reason


BROKEN = {
    "unclosed": "x = (1,\n",
    "indent": "if x:\ny = 1\n",
    "parens": "(" * 1_500,
    "minus": "-" * 1_500 + "1",
    "calls": "f" + "()" * 900,
    "plus": "1" + "+1" * 900,
    "cookie": "# coding: utf-7\nx = 1\n",
    "rot13": "# -*- coding: rot13 -*-\nk = 1\n",
    "unknown": "# coding: nonsense\nx = 1\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_python_that_does_not_parse_is_refused(name):
    """Broken, bottomless and disguised Python is refused with the line, and nothing raises."""
    found = answer({ENTRY: text(BROKEN[name])})
    assert isinstance(found, Refused)
    assert found.rule == "syntax"
    assert found.reason.startswith(f"{ENTRY} does not parse as Python: ")


def test_a_syntax_error_is_shown_with_its_line():
    """An agent is told where its Python breaks."""
    found = answer({"gen/new.py": text("x = 1\ny = (\n")})
    reason = "gen/new.py does not parse as Python: line 2: '(' was never closed"
    assert found == Refused("syntax", reason)


def test_bombs_within_the_limits_are_met():
    """Deep nesting up to the size limit of real runs is refused, and quickly enough."""
    for bomb in (
        "(",
        "-",
        "not ",
        "lambda:",
        "a.",
        "1+",
        "[",
        "f(",
        "x if y else ",
        "if a:0\nel",
        "7",
        "x,",
    ):
        whole = bomb * (250_000 // len(bomb)) + "1"
        assert rule({ENTRY: text(whole)}, limits=AdmissionLimits()) == "syntax"


def test_nesting_is_bounded_by_a_number():
    """What is let in does not depend on how much stack the caller has left."""
    for depth, wanted in ((96, ""), (98, "syntax")):  # module, statement and name count too
        deep = {ENTRY: text("x = " + "[" * depth + "]" * depth + "\n")}
        assert rule(deep) == wanted
        assert rule(train("0.1", "0.2"), head={**HEAD, **deep}) == ""


def test_other_files_need_not_be_python():
    """Text that is not named .py is only text; a file named .PY is Python."""
    assert rule({"gen/new.txt": text("x = (\n")}) == ""
    assert rule({"gen/new.PY": text("x = (\n")}) == "syntax"


def test_warnings_of_the_parser_stay_inside():
    """Source that Python warns of is let in, and no warning reaches the terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rule({ENTRY: text(TRAIN + b"y = '\\d'\nz = 1if x else 2\n")}) == ""


@pytest.mark.parametrize(
    "change",
    [
        train("# a knob", "# the knob"),
        train("\n\nSEED", "\n\n\n\nSEED"),
        train("Train.", "Train well."),
        train('"""Train."""\n', ""),
        train("RATE = 0.1", "RATE = (0.10)"),
        train("import torch\n", "import torch\n'a remark'\npass\n1\n"),
        {"gen/new.py": text("# nothing yet\n")},
        {"gen/new.py": text('"""Nothing."""\npass\n'), "solo.py": text("x  =  1")},
    ],
)
def test_a_change_without_effect_is_refused(change):
    """Comments, layout, docstrings and spelling are not a change, unless null ones are wanted."""
    assert rule(change) == "nothing"
    wanted = AdmissionLimits(file_bytes=2_000, total_bytes=4_000, files=8, allow_null=True)
    assert answer(change, limits=wanted) == Admitted(change)


@pytest.mark.parametrize(
    "change",
    [
        train("SEED = 1", "SEED = 2"),
        train("SEED = 1", "SEED = hash('lucky') % 100"),
        train("SEED = 1", "SEED: int = 1 + 1"),
        train("manual_seed(SEED)", "manual_seed(SEED + 7)"),
        train("torch.manual_seed(SEED)\n", ""),
        train("torch.manual_seed(SEED)", "torch.manual_seed(SEED)\ntorch.cuda.manual_seed_all(3)"),
        train("import torch\n", "import torch\nimport random\nrandom.seed(4)\n"),
        train("import torch\n", "import torch\nimport numpy as np\nnp.random.seed(4)\n"),
        train("import torch\n", "import torch\nif torch.cuda:\n    torch.cuda.manual_seed(4)\n"),
        train("SEED = 1\n", "SEED = 1\nSEED += 1\n"),
        {"gen/notes.txt": text("width: 3\nseed: 2\n")},
        {**train("SEED = 1", "SEED = 2"), "gen/notes.txt": text("width: 3\nseed: 2\n")},
        {**train("SEED = 1", "SEED = 2"), "solo.py": text("x = 1  # same\n")},
    ],
)
def test_a_change_of_seeds_only_is_refused(change):
    """Seeds set, moved, added or removed, however they are spelt, are luck and not a change."""
    assert rule(change) == "seed"


SEEDS = [
    ("f(x, seed=1)", "f(x, seed=2)"),
    ("f(x)", "f(x, random_state=2)"),
    ("g = np.random.default_rng(1)", "g = np.random.default_rng(2)"),
    ("g = torch.Generator(d).manual_seed(1)", "g = torch.Generator(d).manual_seed(2)"),
    ("r = random.Random(1)", "r = random.Random()"),
    ("c = {'seed': 1, 'w': 2}", "c = {'seed': 3, 'w': 2}"),
    ("def f(a, seed=1, *, data_seed=2): return a", "def f(a, seed=3, *, data_seed=4): return a"),
    ("p.add_argument('--seed', default=1)", "p.add_argument('--seed', default=2)"),
    ("s = c.get('train_seed', 1)", "s = c.get('train_seed', 2)"),
    ("c['seed'] = 1", "c['seed'] = 2"),
    ("os.environ['PYTHONHASHSEED'] = '1'", "os.environ['PYTHONHASHSEED'] = '2'"),
    ("self.seed = 1", "self.seed = time.time()"),
    ("if (seed := 1): f(seed)", "if (seed := 2): f(seed)"),
    ("class C:\n    seed: int = 1", "class C:\n    seed: int = 2"),
    ("randomSeed = 1", "randomSeed = 2"),
    ("x = lambda seed=1: seed", "x = lambda seed=2: seed"),
]


@pytest.mark.parametrize(("old", "new"), SEEDS)
def test_seeds_are_known_by_name_and_by_call(old, new):
    """A seed is a seed in an assignment, a keyword, a default, a dict, a call."""
    assert rule({ENTRY: text(new)}, head={ENTRY: text(old)}) == "seed"


REAL = [
    ("seed_tokens = t[:100]", "seed_tokens = t[:200]"),
    ("proceeds = 1", "proceeds = 2"),
    ("f(x, seed=1)", "f(y, seed=1)"),
    ("f(x, seed=1, width=2)", "f(x, seed=2, width=3)"),
    ("def f(a=1, seed=1): return a", "def f(a=2, seed=1): return a"),
    ("c = {'seed': 1, 'w': 2}", "c = {'seed': 1, 'w': 3}"),
    ("g = torch.Generator(d)", "g = torch.Generator(e)"),
    ("if a: f()", "if a: g()"),
    ("x = 1", "x = 2"),
    ("x = 1", "x = 1.0"),
    ("x = 'a'", "x = 'b'"),
    ("import math", "import cmath"),
]


@pytest.mark.parametrize(("old", "new"), REAL)
def test_what_is_more_than_a_seed_is_let_in(old, new):
    """A change beside a seed, or of what only sounds like one, is a change."""
    assert rule({ENTRY: text(new)}, head={ENTRY: text(old)}) == ""


def test_a_head_that_does_not_parse_may_be_mended():
    """What an agent inherits broken it may repair."""
    assert rule({"solo.py": text("x = 1\n")}, head={**HEAD, "solo.py": text("x = (\n")}) == ""


PIECES = st.sampled_from(
    ["gen", "solo.py", "train.py", "..", ".", "", ".git", ".GIT ", "git~1", "\0", "\\", "~", "C:"]
)
PATHS = st.one_of(
    st.text(max_size=30),
    st.lists(st.one_of(PIECES, st.text(max_size=5)), max_size=5).map("/".join),
    st.lists(PIECES, max_size=4).map(lambda rest: "/".join(["gen", *rest])),
)
MODES = st.one_of(st.sampled_from(["100644", "100755", "120000", "160000"]), st.text(max_size=7))
CODE = st.text(alphabet="sed=1(): \n\t#'\"\\\0fxi", max_size=60).map(str.encode)
ENTRIES = st.one_of(st.none(), st.builds(Entry, st.one_of(st.binary(max_size=60), CODE), MODES))


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(PATHS, ENTRIES, max_size=4))
def test_no_proposal_raises_and_none_leaves_the_genome(files):
    """Whatever is proposed, admission answers; what it lets in are text files of the genome."""
    found = answer(files)
    if isinstance(found, Refused):
        assert rule(files) == found.rule
        return
    for path, entry in found.files.items():
        assert path == posixpath.normpath(path)
        assert path.startswith("gen/") or path == "solo.py"
        assert ".git" not in path.casefold()
        if entry is not None:
            assert entry.mode in {"100644", "100755"}
            entry.data.decode()


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_source_gets_an_answer(before, after):
    """Python of any shape, before and after, is compared or refused and never raises."""
    encoded = [source.encode(errors="replace") for source in (before, after)]
    assert rule({ENTRY: text(encoded[1])}, head={ENTRY: text(encoded[0])}) in {
        "", "binary", "syntax", "nothing", "seed"
    }  # fmt: skip


STATEMENTS = st.lists(
    st.sampled_from(
        [
            "x = 1",
            "x = 2",
            "seed = 3",
            "seed = 4",
            "pass",
            "'said'",
            "manual_seed(5)",
            "import math",
        ]
    ),
    max_size=5,
)


@given(STATEMENTS, STATEMENTS, STATEMENTS, STATEMENTS)
def test_what_two_files_have_in_common_makes_no_difference(head, before, after, tail):
    """At beginning and end, however they go on: they compare as one statement with all of it."""

    def lines(middle, indent):
        return "".join(f"{indent}{line}\n" for line in [*head, *middle, *tail])

    flat = [lines(middle, "").encode() for middle in (before, after)]
    whole = [f"if x:\n    y = 0\n{lines(middle, '    ')}".encode() for middle in (before, after)]
    assert compare("a.py", *flat) == compare("a.py", *whole)


@given(PATHS)
def test_inside_is_never_true_of_a_path_that_leads_out(path):
    """A path inside the genome stays below it however it is resolved."""
    if is_inside(path, GENOME):
        assert posixpath.normpath(posixpath.join("/top", path)) == f"/top/{path}"
