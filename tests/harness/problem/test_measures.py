"""The harness's own measures of files: what a candidate's links and line ends do to them."""

import os
import subprocess
import sys

import pytest

from harness.problem.measures import UnmeasurableError, count_lines, size_of
from tests.harness.problem.test_command import FILES, Problem, kinds

APP = b"x" * 50_000


@pytest.fixture
def root(tmp_path):
    """A repository with a file of 50,000 bytes in `real`, and an empty folder `dist`."""
    for name in ("root/real", "root/dist"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "root/real/app").write_bytes(APP)
    (tmp_path / "outside").write_bytes(b"")
    return tmp_path / "root"


LINKS = {
    "a file": ({"dist/app": "../real/app"}, "dist/app", 50_000),
    "a link to it": ({"dist/app": "b", "dist/b": "../real/app"}, "dist/app", 50_000),
    "a folder": ({"dist/sub": "../real"}, "dist", 50_000),
    "the folder itself": ({"lib": "real"}, "lib", 50_000),
    "a folder above": ({"lib": "real"}, "lib/app", 50_000),
    "one file by two names": ({"dist/a": "../real/app", "dist/b": "../real/app"}, "dist", 50_000),
    "what lies beside it": ({"real/app.so": "app"}, "real", 50_000),
    "a circle of folders": ({"real/up": "..", "dist/real": "../real"}, "dist", 50_000),
}


@pytest.mark.parametrize("name", LINKS)
def test_a_link_counts_as_what_it_leads_to(root, name):
    """Each file once; the link's own few bytes count for nothing."""
    links, path, size = LINKS[name]
    for at, to in links.items():
        (root / at).symlink_to(to)
    assert size_of(path, [root]) == size


@pytest.mark.parametrize("to", ["../../outside", "/etc/hostname", "nothing", "app"])
@pytest.mark.parametrize("path", ["dist/app", "dist"])
def test_a_link_out_of_the_repository_is_no_size(root, path, to):
    """Nor is one to nothing, or to itself: in a sandbox it may lead to what is not here."""
    (root / "dist/app").symlink_to(to)
    with pytest.raises(UnmeasurableError, match="dist/app leads to what is not in the repository"):
        size_of(path, [root])


def test_the_first_place_that_has_the_path_counts(root, tmp_path):
    """A link to nothing is there, too; what `run` left counts where no place has it."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other/app").write_bytes(b"123")
    assert size_of("app", [root, tmp_path / "other"]) == 3
    assert size_of("gone", [root], [tmp_path / "other/app"]) == 3
    assert size_of("gone", [root]) is None
    (root / "app").symlink_to("nothing")
    with pytest.raises(UnmeasurableError):
        size_of("app", [root, tmp_path / "other"])


def test_names_count_by_themselves_and_holes_as_bytes(root):
    """Hard links twice, as in an archive; a sparse file by its size."""
    os.link(root / "real/app", root / "real/again")
    with (root / "dist/sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert size_of("real", [root]) == 100_000
    assert size_of("dist", [root]) == 1 << 30


def test_folders_may_be_as_deep_as_a_path_allows(root):
    """No recursion ends the measure."""
    deep = root / "dist"
    for _ in range(1100):  # one by one: mkdir itself would recurse
        deep /= "d"
        deep.mkdir()
    (deep / "f").write_bytes(b"12")
    size = size_of("dist", [root])
    subprocess.run(["rm", "-r", root / "dist"], check=True)  # which pytest could not remove
    assert size == 2


LINES = {
    "carriage returns": (b"def f():\r    x = 1\r    return x\rprint(f())\r", 4),
    "both": (b"a = 1\r\nb = 2\r\nprint(a + b)", 3),
    "mixed": (b"a = 1\rb = 2\nc = 3\r\n\rprint(1)", 5),
    "form feed": (b"a = 1\x0c\nprint(a)\n", 2),
    "other separators": ("a = '\x0b\x1c\x85\u2028'\nprint(1)\n".encode(), 2),
    "nothing": (b"", 0),
    "an empty line": (b"\r", 1),
    "a plain codec": ("# coding: latin-1\nprint('\u00e9')\n".encode("latin-1"), 2),
    "an unknown codec": (b"# coding = tabs\n", 1),
    "a codec in code": (b"a = 1\nb = 2\n# coding: utf-7\nprint(1)\n", 4),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_end_as_python_ends_them(tmp_path, name):
    r"""At \n, \r and \r\n, and nowhere else: Python counts as many."""
    data, lines = LINES[name]
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.py").write_bytes(data)
    assert count_lines(tmp_path) == lines


HIDDEN = {
    "utf-7": b"# coding: utf-7\nx = 1 #+AAo-print('ran')",
    "unicode_escape": b"# -*- coding: unicode_escape -*-\n#\\nprint('ran')",
    "on the second line": b"#!/usr/bin/python\n# vim: set fileencoding=utf7 :\n#+AAo-print('ran')",
    "after a carriage return": b"#\r# coding: utf-7\r#+AAo-print('ran')",
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_codec_that_hides_line_ends_is_refused(tmp_path, name):
    """Python runs more lines than the file's bytes have."""
    (tmp_path / "a.py").write_bytes(HIDDEN[name])
    ran = subprocess.run([sys.executable, tmp_path / "a.py"], capture_output=True, check=False)
    assert ran.stdout == b"ran\n", ran.stderr
    with pytest.raises(UnmeasurableError, match=r"a\.py is in .*, which hides line ends"):
        count_lines(tmp_path)


FRONT = (
    "---\ntask: command\ngenome: [src]\nbuild: sh src/make.sh\nrun: sh dist/app\n"
    "metric: 'bytes:dist/app'\ndirection: minimize\n---\n"
)

BUILDS = {
    "an honest one": ("mkdir dist; cp src/app dist/app", 8 + 1000, ""),
    "a link to its source": ("mkdir dist; ln -s ../src/app dist/app", 8 + 1000, ""),
    "a link out": ("mkdir dist; ln -s ../../../bin/true dist/app", None, "dist/app"),
}


@pytest.mark.parametrize("kind", kinds())
@pytest.mark.parametrize("name", BUILDS)
def test_a_build_that_links_its_program_wins_nothing(open_folder, name, kind):
    """`bytes:PATH` is verified: a link of 10 bytes was kept, promoted and merged."""
    make, size, reason = BUILDS[name]
    files = {"src/make.sh": make, "src/app": "exit 0\n#" + "x" * 1000, "program.md": FRONT}
    outcome = Problem(open_folder, FILES | files).measure(sandbox=kind)
    assert outcome.score == size, outcome
    assert reason in (outcome.failure.reason if outcome.failure else "")


@pytest.mark.parametrize("kind", kinds())
def test_a_genome_with_other_line_ends_has_as_many_lines(open_folder, kind):
    """`lines` is verified, and Python runs the file either way."""
    code = "def value(depth):\n    more = 40\n    return more + depth\n"
    front = FILES["program.md"].replace("ops/s", "lines")
    problem = Problem(open_folder, FILES | {"src/work.py": code, "program.md": front})
    for end in ("\n", "\r"):
        outcome = problem.measure({"src/work.py": code.replace("\n", end)}, sandbox=kind)
        assert (outcome.score, outcome.claims["ops/s"]) == (3, 42.0), outcome


def test_a_genome_in_a_codec_that_hides_line_ends_is_invalid(open_folder):
    """Its agent is told what to write."""
    front = FILES["program.md"].replace("ops/s", "lines")
    problem = Problem(open_folder, FILES | {"program.md": front})
    code = "# coding: utf-7\ndef value(depth): return 42 #+AAo-more = 1"
    failure = problem.measure({"src/work.py": code}, sandbox="none").failure
    assert failure.told == "lines: src/work.py is in utf-7, which hides line ends: write UTF-8"
