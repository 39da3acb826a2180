"""Export of the lineage: node-link JSON, GraphML, Graphviz, Parquet.

JSON is networkx's node-link data and loses nothing. GraphML and Graphviz take only numbers and
text: other values are written as JSON, characters that XML forbids are replaced. Parquet is two
files, `nodes.parquet` and `edges.parquet`, one row a node or an edge.

What is exported is chosen before (lineage_choice.py). DuckDB writes each node and edge as a line of
text, so that no graph is built in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

import duckdb
from duckdb import DuckDBPyConnection

from analysis.database.lineage_choice import CHOSEN_EDGES, CHOSEN_NODES
from analysis.database.projection.columns import COLUMNS
from analysis.database.projection.schema import quoted
from analysis.database.projection.tables import TABLES
from analysis.untrusted_text import printable

FORMATS: Final = ("json", "graphml", "dot", "parquet")

_FROM: Final = {"nodes": CHOSEN_NODES, "edges": CHOSEN_EDGES}

_BATCH: Final = 10_000

_UNPRINTABLE: Final = (
    r"[\x00-\x08\x0B-\x1F\x7F-\xA0\p{Cf}\p{Co}\p{Zl}\p{Zp}\x{1680}\x{2000}-\x{200A}\x{202F}"
    r"\x{205F}\x{3000}\x{FFFE}\x{FFFF}]"
)
"""Characters that XML forbids, that show as nothing or that change what is around them; no newline
and no tab."""

_XML_TYPES: Final = {"DOUBLE": "double", "TIMESTAMP": "double", "INTEGER": "long"}


def as_text(con: DuckDBPyConnection, to: str) -> Iterator[str]:
    """Yield the text of what `choose` chose as `json`, `graphml` or `dot`, piece by piece.

    Raises ValueError for another format.
    """
    match to:
        case "json":
            yield from _json(con)
        case "graphml":
            yield from _graphml(con)
        case "dot":
            yield from _dot(con)
        case _:
            raise ValueError(to)


def write_parquet(con: DuckDBPyConnection, folder: Path) -> None:
    """Write nodes.parquet and edges.parquet into `folder`. Raises OSError where it cannot."""
    folder.mkdir(parents=True, exist_ok=True)
    for table, keys in (("nodes", ("node",)), ("edges", ("source", "target", "kind"))):
        lines = folder / f".{table}.jsonl"
        with lines.open("w", encoding="utf-8") as file:
            file.writelines(f"{row}\n" for row in _texts(con, table, _object(table, keys)))
        source = f"read_json({quoted(str(lines))}, format = 'newline_delimited', sample_size = -1)"
        with duckdb.connect() as other:
            other.execute(f"COPY (FROM {source}) TO {quoted(str(folder / f'{table}.parquet'))}")
        lines.unlink()


def _json(con: DuckDBPyConnection) -> Iterator[str]:
    yield '{"directed": true, "multigraph": true, "graph": {}, "nodes": ['
    yield from _separated(_texts(con, "nodes", _object("nodes", ("id",))))
    yield '], "edges": ['
    yield from _separated(_texts(con, "edges", _object("edges", ("source", "target", "key"))))
    yield "]}\n"


def _separated(texts: Iterable[str]) -> Iterator[str]:
    """Yield texts with a comma between them."""
    rest = iter(texts)
    yield from chain([next(rest, "")], (f",\n{text}" for text in rest))


def _graphml(con: DuckDBPyConnection) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="utf-8"?>\n'
    yield '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
    for table, kind in (("nodes", "node"), ("edges", "edge")):
        for name in _shown(table):
            type_ = _XML_TYPES.get(COLUMNS[name].type, "string")
            key = f'<key id="{kind}_{name}" for="{kind}" attr.name="{name}" attr.type="{type_}"/>'
            yield f"{key}\n"
    yield '<graph edgedefault="directed">\n'
    node = f"""'<node id="' || {_xml("node")} || '">' || {_data("nodes", "node")} || '</node>'"""
    ends = f"""'" source="' || {_xml("source")} || '" target="' || {_xml("target")} || '">'"""
    edge = f"""'<edge id="' || {_xml("kind")} || {ends} || {_data("edges", "edge")} || '</edge>'"""
    for table, text in (("nodes", node), ("edges", edge)):
        clean = f"regexp_replace({text}, '{_UNPRINTABLE}', chr(65533), 'g')"
        yield from (f"{row}\n" for row in _texts(con, table, clean))
    yield "</graph></graphml>\n"


def _data(table: str, kind: str) -> str:
    """Return the SQL of the attributes of a row as GraphML; those without a value are left out."""
    return " || ".join(
        f"""coalesce('<data key="{kind}_{name}">' || {_xml(name)} || '</data>', '')"""
        for name in _shown(table)
    )


def _shown(table: str) -> Sequence[str]:
    """Return the attributes in GraphML: an edge's kind too, which readers need beside its id."""
    columns = TABLES[table].columns
    return columns[1:] if table == "nodes" else columns[2:]


def _xml(column: str) -> str:
    """Return the SQL of a column's value as text in XML, NULL for NULL."""
    if COLUMNS[column].type in _XML_TYPES:
        return f"{_plain(column)}::VARCHAR"
    text = f"{column}::VARCHAR"
    for char, name in (("&", "amp"), ("<", "lt"), (">", "gt"), ('"', "quot")):
        text = f"replace({text}, '{char}', '&{name};')"
    return text


def _object(table: str, keys: Sequence[str]) -> str:
    """Return the SQL of a row as a JSON object without NULLs, its primary key under `keys`."""
    columns = TABLES[table].columns
    names = (*keys, *columns[len(keys) :])
    members = (
        f"""coalesce(', "{name}": ' || {_member(column)}, '')"""
        for name, column in zip(names, columns, strict=True)
    )
    return f"'{{' || substr({' || '.join(members)}, 3) || '}}'"


def _member(column: str) -> str:
    """Return the SQL of a column's value as JSON, null for nan and infinity, NULL for NULL."""
    match COLUMNS[column].type:
        case "JSON":
            return f"{column}::VARCHAR"
        case "DOUBLE" | "TIMESTAMP":
            value = _plain(column)
            return f"if({value} IS NULL OR isfinite({value}), {value}::VARCHAR, 'null')"
    return f"if({column} IS NULL, NULL, to_json({column})::VARCHAR)"


def _plain(column: str) -> str:
    """Return the SQL of a column's value, times as seconds since the epoch."""
    return f"epoch({column})" if COLUMNS[column].type == "TIMESTAMP" else column


def _texts(con: DuckDBPyConnection, table: str, text: str) -> Iterator[str]:
    """Yield the text of each chosen row of a table, `text` in SQL."""
    return (row for (row,) in _rows(con, f"SELECT {text} {_FROM[table]}"))


def _rows(con: DuckDBPyConnection, query: str) -> Iterator[tuple[Any, ...]]:
    result = con.execute(query)
    while batch := result.fetchmany(_BATCH):
        yield from batch


def _dot(con: DuckDBPyConnection) -> Iterator[str]:
    """Yield the lines of a Graphviz file: one box a node, one arrow a relation."""
    yield "digraph lineage {\n  rankdir=LR; node [shape=box];\n"
    said = "coalesce(ending, kind), coalesce(hypothesis, node[:10])"
    for node, number, ending, words in _rows(
        con, f"SELECT node, experiment, {said} {_FROM['nodes']}"
    ):
        label = f"{ending} {words}" if number is None else f"#{number} {ending} {words}"
        yield f"  {_string(node)} [label={_string(label)}];\n"
    for source, target, kind in _rows(con, f"SELECT source, target, kind {_FROM['edges']}"):
        yield f"  {_string(source)} -> {_string(target)} [label={_string(kind)}];\n"
    yield "}\n"


def _string(text: str) -> str:
    clean = printable(text, keep="\n\t").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{clean}"'.replace("\n", " ")
