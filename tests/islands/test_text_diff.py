"""What an edit of a file that is no Python may change: nothing, seeds only, or anything."""

import pytest

from islands.genome.categories import categories
from islands.genome.code_size import code_change, code_lines
from islands.genome.null_edits import null_proposal
from islands.genome.structured_data import NotParsedError
from islands.genome.syntax_diff import compare
from islands.records import Entry

SAME = [
    ("a.c", "int a = 1; // x\n", "int  a = 1;\n\n/* y\n*/\n"),
    ("a.js", "f(1) // a\n", "f(1)\n"),
    ("a.sql", "SELECT 1 -- a\n", "/* b */\nSELECT   1\n"),
    ("a.sh", "#!/bin/sh\nx # a\n", "#!/bin/sh\n# b\nx\n"),
    ("a.yaml", "a: 1 # x\nb: [1, 2]\n", "# y\na:   1\nb:\n- 1\n- 2\n"),
    ("a.json", '{"a": 1}', '{\n "a": 1\n}\n'),
    ("a.toml", "a = 1 # x\n", "a=1\n"),
    ("a.html", "<p>1</p><!-- a -->\n", "<p>1</p>\n"),
]

CHANGED = [
    ("a.c", 'char *a = "// x";\n', 'char *a = "// y";\n'),
    ("a.go", "//go:noinline\nfunc f() {}\n", "//go:nosplit\nfunc f() {}\n"),
    ("a.js", "let a = `# ${1}`\n", "let a = `# ${2}`\n"),
    ("a.sql", "SELECT /*+ INDEX(a) */ 1\n", "SELECT /*+ INDEX(b) */ 1\n"),
    ("a.sh", "#!/bin/sh\n", "#!/bin/bash\n"),
    ("a.sh", "echo $#\n", "echo $#a\n"),
    ("a.yaml", "a: |\n  # 1\n", "a: |\n  # 2\n"),
    ("a.yaml", "a: 1\n", 'a: "1"\n'),
    ("a.json", '{"a": 1}', '{"a": 1.0}'),
    ("a.txt", "Be brief. # a\n", "Be brief. # b\n"),
    ("Makefile", "a:\n\tb\n", "a:\n    b\n"),
    ("a.yaml", "num_seeds: 8\n", "num_seeds: 17\n"),
    ("a.yaml", "seeds: 8\n", "seeds: 17\n"),
    ("a.yaml", "seeds: [1, 2]\n", "seeds: [1, 2, 3]\n"),
    ("a.js", "let seed = 3\n", "let seed = hash(x)\n"),
    ("a.c", "int seeds[] = lattice(26);\n", "int seeds[] = grid(26);\n"),
]

RESEEDED = [
    ("a.yaml", "seed: 1\nb: 2\n", "seed: 2  # lucky\nb: 2\n"),
    ("a.json", '{"data_seed": 1}', '{"data_seed": 2}'),
    ("a.yaml", "seeds: [1, 2]\n", "seeds: [3, 4]\n"),
    ("a.c", "#define SEED 3\nsrand(4);\n", "#define SEED 5\nsrand(6);\n"),
    ("a.js", "let randomSeed = 3;\n", "let randomSeed = 4;\n"),
    ("a.sh", "run --seed 3\n", "run --seed 4\n"),
    ("a.toml", "seed = 3\n", "seed = 4\n"),
]


@pytest.mark.parametrize(
    ("effect", "path", "before", "after"),
    [
        (effect, *case)
        for effect, cases in (("same", SAME), ("changed", CHANGED), ("reseeded", RESEEDED))
        for case in cases
    ],
)
def test_the_effect_of_an_edit(effect, path, before, after):
    """Comments and layout change nothing, in a string they do; a seed is no change, a count is."""
    assert compare(path, before.encode(), after.encode()) == effect
    mark = b"\xef\xbb\xbf"
    if effect == "same":
        assert compare(path, mark + before.encode(), mark + after.encode()) == "same"


@pytest.mark.parametrize(
    ("path", "good", "bad", "language"),
    [
        ("a.json", '{"a": 1}', '{"a": 1,}', "JSON"),
        ("a.yaml", "a: 1\n", "a: [1\n", "YAML"),
        ("a.toml", "a = 1\n", "a = \n", "TOML"),
    ],
)
def test_what_parsed_must_parse(path, good, bad, language):
    """A template that never parsed may change; one line says what is wrong."""
    with pytest.raises(NotParsedError) as caught:
        compare(path, good.encode(), bad.encode())
    assert caught.value.language == language
    assert "\n" not in str(caught.value)
    assert compare(path, b"{{ x", bad.encode()) == "changed"


@pytest.mark.parametrize(("path", "text"), [(path, before) for path, before, _ in SAME])
def test_a_null_edit_exists_where_a_language_has_comments(path, text):
    """It is the same by tokens; JSON has none."""
    proposal = null_proposal(0, 3, {path: Entry(text.encode())})
    if path == "a.json":
        assert proposal is None
    else:
        assert compare(path, text.encode(), proposal.files[path].data) == "same"
        assert proposal.files[path].data.startswith(text.encode())


def test_a_null_edit_follows_a_byte_order_mark():
    """The mark stays first."""
    proposal = null_proposal(0, 3, {"a.py": Entry(b"\xef\xbb\xbfx = 1\n")})
    assert proposal.files["a.py"].data.startswith(b"\xef\xbb\xbf# as in")


def test_lines_of_code_are_counted_without_comments():
    """Blank lines and comments are none; in plain text only blank lines are."""
    assert code_lines("a.c", b"int a;\n\n// b\n/* c\n*/ int d;\n") == 2
    assert code_lines("a.yaml", b"# a\nb: 1\n") == 1
    assert code_lines("a.txt", b"# a\n\nb\n") == 2
    python = b'"""Doc.\n\nMore."""\n# c\ndef f(\n    a,\n):\n    """Doc."""\n    return a; pass\n'
    assert code_lines("a.py", python) == 2
    change = {"a.py": Entry(b"def f(a): return a\n"), "b.c": None}
    assert code_change({"a.py": Entry(python), "b.c": Entry(b"int a;\nint b;\n")}, change) == -2


def test_categories_are_read_off_any_language():
    """Keys and identifiers on the lines that differ, comments aside."""
    assert categories({"a.json": '{"lr": 1}'}, {"a.json": '{"lr": 2}'}) == ("optimiser",)
    before, after = "int batch = 1; // lr\n", "int batch = 2; // lr\n"
    assert categories({"a.c": before}, {"a.c": after}) == ("data",)
