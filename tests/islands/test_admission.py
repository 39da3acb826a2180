"""Admission: each rule refuses what it names; hostile proposals never raise."""

import posixpath
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from islands.genome.admission import AdmissionLimits, Admitted, Refused, admit
from islands.genome.paths import is_inside
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


def admission(files, head=HEAD, limits=LIMITS):
    """Return the result of admitting `files`."""
    return admit(Proposal("h", files), head, GENOME, limits, ENTRY)


def rule(files, **more):
    """Return the rule that refuses `files`, "" where they are admitted."""
    result = admission(files, **more)
    if isinstance(result, Admitted):
        return ""
    assert "\n" not in result.reason
    assert result.reason.isprintable()
    assert len(result.reason) < 700
    return result.rule


def text(source):
    """Return an entry that holds `source`."""
    return Entry(source if isinstance(source, bytes) else source.encode())


def train(old, new):
    """Return a change of train.py that replaces `old` with `new`."""
    assert old in TRAIN.decode()
    return {ENTRY: text(TRAIN.decode().replace(old, new))}


def test_a_change_inside_the_genome_is_admitted():
    """A changed knob, a new file, a deleted file and a file with an odd name are all changes."""
    change = {
        **train("0.1", "0.2"),
        "gen/new/deep.py": text("y = 1\n"),
        "gen/notes.txt": None,
        'gen/it\'s "Ü" .md': text("words\n"),
    }
    assert admission(change) == Admitted(change)


def test_what_does_not_differ_is_left_out():
    """Unchanged files and deletions of missing files are not part of the change."""
    same = {"solo.py": HEAD["solo.py"], "gen/gone.py": None}
    changed = train("0.1", "0.2")
    assert admission({**same, **changed}) == Admitted(changed)
    assert rule(same) == "nothing"
    assert rule({}) == "nothing"


@pytest.mark.parametrize(
    "name",
    [
        *("CLAUDE.md", "claude.local.md", "AGENTS.md", "GEMINI.md", "QWEN.md", "CONVENTIONS.md"),
        *(".claude/settings.json", "deep/.mcp.json", ".env", "opencode.json", "opencode.jsonc"),
        *(".aider.conf.yml", ".cursor/rules/x.mdc", "SKILL.md", ".hidden/plain.py"),
    ],
)
def test_files_that_instruct_coding_agents_are_refused(name):
    """A kept candidate could command every later agent by them; deleting one is no harm."""
    assert rule({f"gen/{name}": text("obey\n"), **train("0.1", "0.2")}) == "instructions"
    assert rule({f"gen/{name}": None, **train("0.1", "0.2")}) == ""


def test_a_file_that_the_user_names_may_instruct_agents():
    """A person can have AGENTS.md itself improved, or what lies in a folder with a dot."""
    proposal = Proposal("h", {"AGENTS.md": text("better\n"), ".ci/run.py": text("y = 1\n")})
    genome = ("AGENTS.md", ".ci")
    assert isinstance(admit(proposal, {}, genome, LIMITS, ""), Admitted)


OUTSIDE = [
    "harness.py",
    "generator.py",
    "gen",  # the folder itself: refused by the rule clash
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
    """Paths that leave the genome, or that some reader takes for another path, are refused."""
    assert rule({path: text("x = 1\n")}) == ("clash" if path == "gen" else "outside")
    assert rule({path: None, **train("0.1", "0.2")}) == ("outside" if path != "gen" else "")


def test_a_refusal_says_what_is_allowed():
    """The reason names the file and the paths that may be changed."""
    result = admission({"harness.py": text("x = 1\n")})
    reason = "harness.py is outside the genome; change only: gen/, solo.py"
    assert result == Refused("outside", reason)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("gen/é\udcff.py", r"gen/é\xff.py: its name is not UTF-8; choose another name"),
        ("gen/\ud800.py", r"gen/\ud800.py: its name is not UTF-8; choose another name"),
        ("gen/HEAD", "gen/HEAD: its name is too long, or one that git or a file system may take"),
        ("gen/../x.py", "gen/../x.py is outside the genome; change only: gen/, solo.py"),
        ("x\udcff.py", r"x\udcff.py is outside the genome; change only: gen/, solo.py"),
    ],
)
def test_a_name_at_fault_is_told_apart_from_a_path_outside(path, reason):
    """The file is in the genome, and under another name it would be admitted."""
    result = admission({path: text("x = 1\n")})
    assert result.rule == "outside"
    assert result.reason.startswith(reason)


@pytest.mark.parametrize("mode", ["120000", "160000"])
def test_links_are_refused(mode):
    """Symbolic links and submodules are refused, new or in place of a file."""
    assert rule({"gen/new": Entry(b"/etc/passwd", mode)}) == "link"
    assert rule({ENTRY: Entry(b"/etc/passwd", mode)}) == "link"


@pytest.mark.parametrize("path", ["gen/link", "gen/module"])
def test_links_of_the_head_stay(path):
    """A link of the head cannot be replaced or deleted, nor can a file be put below it."""
    assert rule({path: text("x = 1\n")}) == "link"
    assert rule({path: None}) == "link"
    assert rule({f"{path}/x.py": text("x = 1\n")}) == "clash"
    assert rule(train("0.1", "0.2")) == ""


@pytest.mark.parametrize("mode", ["100755", "040000", "100664", "", "x" * 9999, "1\n"])
def test_agents_cannot_change_modes(mode):
    """New executables and modes unknown to git are refused."""
    assert rule({"gen/new.py": Entry(b"x = 1\n", mode)}) == "mode"
    assert rule({ENTRY: Entry(TRAIN + b"x = 1\n", mode)}) == "mode"


def test_an_executable_stays_one():
    """Text proposed for an executable file keeps the file's mode; mode alone is no change."""
    expected = Admitted({"gen/tool.sh": Entry(b"#!/bin/bash\n", "100755")})
    assert admission({"gen/tool.sh": text("#!/bin/bash\n")}) == expected
    assert admission({"gen/tool.sh": Entry(b"#!/bin/bash\n", "100755")}) == expected
    assert rule({"gen/tool.sh": text("#!/bin/sh\n")}) == "nothing"


@pytest.mark.parametrize("data", [b"a\0b", b"\xff\xfe", b"\x89PNG\r\n", b"x = '\xed\xa0\x80'\n"])
def test_binaries_are_refused(data):
    """A file with null bytes, or that is not UTF-8, is refused under any name."""
    assert rule({"gen/new.txt": text(data)}) == "binary"
    assert rule({ENTRY: text(data)}) == "binary"


def test_sizes_are_bounded():
    """Files, genomes and numbers of files above their limits are refused."""
    assert rule({"gen/big.txt": text(b"a" * 2_000)}) == ""
    assert rule({"gen/big.txt": text(b"a" * 2_001)}) == "size"
    assert rule({"gen/big.py": text(b"(" * 10_000_000)}) == "size"
    assert rule({"gen/b1.txt": text(b"a" * 2_000), "gen/b2.txt": text(b"a" * 2_000)}) == "size"
    assert rule({f"gen/{n}.txt": text("a") for n in range(2)}) == ""
    assert rule({f"gen/{n}.txt": text("a") for n in range(3)}) == "size"
    assert rule(dict.fromkeys((f"gen/{n}.txt" for n in range(9)), None)) == "size"


def test_a_genome_above_the_limits_may_change_and_shrink():
    """Limits bound growth: a user's large genome works, but cannot grow further."""
    small = AdmissionLimits(file_bytes=2_000, total_bytes=20, files=2)
    assert rule(train("0.1", "0.2"), limits=small) == ""
    assert rule(train("0.1", "0.25"), limits=small) == "size"
    assert rule({"gen/new.txt": text("a"), "gen/notes.txt": None}, limits=small) == ""
    assert rule({"gen/new.txt": text("a")}, limits=small) == "size"


def test_names_that_collide_are_refused():
    """No file may differ from another by case alone, or replace a folder, or lie below a file."""
    assert rule({"gen/TRAIN.py": text("x = 1\n")}) == "clash"
    assert rule({"gen/a.py": text("x = 1\n"), "gen/A.py": text("x = 2\n")}) == "clash"
    assert rule({"gen/Train.py/x.py": text("x = 1\n")}) == "clash"
    assert rule({"gen/a": text("x"), "gen/a/b": text("x")}) == "clash"
    assert rule({"gen/Notes.txt": text("x"), "gen/notes.txt": None}) == ""


def test_the_entry_file_stays():
    """The file that a trial starts from cannot be deleted."""
    result = admission({ENTRY: None})
    assert isinstance(result, Refused)
    assert result.rule == "entry"
    assert ENTRY in result.reason


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
    """Broken, deeply nested and oddly encoded Python is refused with a reason."""
    result = admission({ENTRY: text(BROKEN[name])})
    assert isinstance(result, Refused)
    assert result.rule == "syntax"
    assert result.reason.startswith(f"{ENTRY} does not parse as Python: ")


def test_a_syntax_error_is_shown_with_its_line():
    """An agent is told the line of its syntax error."""
    result = admission({"gen/new.py": text("x = 1\ny = (\n")})
    reason = "gen/new.py does not parse as Python: line 2: '(' was never closed"
    assert result == Refused("syntax", reason)


def test_deep_nesting_up_to_the_size_limit_is_refused():
    """Nothing raises on syntax bombs of the largest file that real runs allow."""
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
    """What is admitted does not depend on how much stack the caller has left."""
    for depth, expected in ((96, ""), (98, "syntax")):  # module, statement and name count too
        deep = {ENTRY: text("x = " + "[" * depth + "]" * depth + "\n")}
        assert rule(deep) == expected
        assert rule(train("0.1", "0.2"), head={**HEAD, **deep}) == ""


def test_other_files_need_not_be_python():
    """Only files named .py, in any case, are parsed."""
    assert rule({"gen/new.txt": text("x = (\n")}) == ""
    assert rule({"gen/new.PY": text("x = (\n")}) == "syntax"


def test_warnings_of_the_parser_are_suppressed():
    """Source that Python warns of is admitted, and no warning reaches the terminal."""
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
    """Comments, layout, docstrings and spelling are no change, unless null edits are allowed."""
    assert rule(change) == "nothing"
    allowing = AdmissionLimits(file_bytes=2_000, total_bytes=4_000, files=8, allow_null=True)
    assert admission(change, limits=allowing) == Admitted(change)


@pytest.mark.parametrize(
    "change",
    [
        train("SEED = 1", "SEED = 2"),
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
    """Setting, moving, adding or removing seeds, however written, is refused."""
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
    ("if (seed := 1): f(seed)", "if (seed := 2): f(seed)"),
    ("class C:\n    seed: int = 1", "class C:\n    seed: int = 2"),
    ("randomSeed = 1", "randomSeed = 2"),
    ("x = lambda seed=1: seed", "x = lambda seed=2: seed"),
]


@pytest.mark.parametrize(("old", "new"), SEEDS)
def test_seeds_are_recognised_by_name_and_by_call(old, new):
    """In an assignment, a keyword, a default, a dict and a call."""
    assert rule({ENTRY: text(new)}, head={ENTRY: text(old)}) == "seed"


REAL = [
    ("seed_tokens = t[:100]", "seed_tokens = t[:200]"),
    ("self.seed = 1", "self.seed = time.time()"),
    ("NUM_SEEDS = 8", "NUM_SEEDS = 17"),
    ("f(n_seeds=8)", "f(n_seeds=17)"),
    ("seeds = 8", "seeds = 17"),
    ("seeds = [1, 2]", "seeds = [1, 2, 3]"),
    ("seeds = grid(26)", "seeds = lattice(26)"),
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
def test_a_change_of_more_than_a_seed_is_admitted(old, new):
    """Changes beside a seed, or of a name that only resembles one, count."""
    assert rule({ENTRY: text(new)}, head={ENTRY: text(old)}) == ""


def test_a_head_that_does_not_parse_may_be_fixed():
    """An agent may repair a file that it inherits broken."""
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
    """Any proposal gets a result; what is admitted are text files of the genome."""
    result = admission(files)
    admitted = result.files if isinstance(result, Admitted) else {}
    assert rule(files) == ("" if isinstance(result, Admitted) else result.rule)
    assert all(path == posixpath.normpath(path) for path in admitted)
    assert all(path.startswith("gen/") or path == "solo.py" for path in admitted)
    assert not any(".git" in path.casefold() for path in admitted)
    entries = [entry for entry in admitted.values() if entry is not None]
    assert {entry.mode for entry in entries} <= {"100644", "100755"}
    assert all(isinstance(entry.data.decode(), str) for entry in entries)


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_source_gets_a_result(before, after):
    """Any two texts are compared or refused; nothing raises."""
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
def test_common_statements_do_not_change_the_comparison(head, before, after, tail):
    """Two files compare like two statements that hold all of their lines."""

    def lines(middle, indent):
        return "".join(f"{indent}{line}\n" for line in [*head, *middle, *tail])

    flat = [lines(middle, "").encode() for middle in (before, after)]
    whole = [f"if x:\n    y = 0\n{lines(middle, '    ')}".encode() for middle in (before, after)]
    assert compare("a.py", *flat) == compare("a.py", *whole)


@given(PATHS)
def test_a_path_that_leads_out_is_not_inside(path):
    """A path is inside the genome only if it stays there however it is resolved."""
    stays = posixpath.normpath(posixpath.join("/top", path)) == f"/top/{path}"
    assert stays or not is_inside(path, GENOME)


def test_plain_paths_of_the_genome_are_inside():
    """Files and folders of the genome, and nothing beside them."""
    assert is_inside("gen/a/b.py", GENOME)
    assert is_inside("solo.py", GENOME)
    assert not is_inside("solo.py.bak", GENOME)
