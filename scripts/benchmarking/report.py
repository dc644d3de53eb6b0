"""The results in words: a table for people, made from what the JSON file has."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarking.figures import Spread

Json = Mapping[str, Any]

_BEGIN, _END = "<!-- written by scripts/benchmark.py --write-readme -->", "<!-- end of what it wrote -->"


def spread(value: Json, digits: int = 2) -> str:
    """A `Spread` as it is in the file."""
    return Spread(value["median"], value["least"], value["most"]).text(digits)


def aim(median: float, target: float | None, unit: str = "") -> str:
    """The target, and whether it was reached; empty where there is none.

    >>> aim(0.39, 0.4), aim(0.41, 0.4), aim(3.0, None)
    ('≤ 0.4 ✓', '≤ 0.4 ✗', '')
    """
    if target is None:
        return ""
    return f"≤ {target:g}{' ' + unit if unit else ''} {'✓' if median <= target else '✗'}"


def _median(costs: Sequence[Json], name: str) -> float:
    return float(statistics.median(cost[name] for cost in costs))


def _times(one: Json, command_line: Sequence[Json]) -> str:
    by_command = f" ({_median(command_line, 'wall'):.2f})" if command_line else ""
    return f"{_median(one['ours'], 'wall'):.2f}{by_command} : {_median(one['theirs'], 'wall'):.2f}"


def row_lines(row: Json) -> Iterator[list[str]]:
    """The lines of one row, as cells."""
    title = f"{row['title']} ({row['archives']} archives, {row['bytes'] / 1e6:.0f} MB)"
    if row["against_limit"]:
        limit, target = row["against_limit"], row["limit_target"]
        ours = [cost for one in row["comparisons"] for cost in one["ours"]]
        seconds = f"{_median(ours, 'wall'):.2f} : {row['limit_seconds']:.2f}"
        yield [title, "bytes / rate", spread(limit), aim(limit["median"], target), seconds, "", ""]
    for one in row["comparisons"]:
        wall, cpu = one["wall_ratio"], one["cpu_ratio"]
        used = memory = ""
        if theirs := _median(one["theirs"], "private"):  # else it is a sum of parts
            used = f"{spread(cpu)} {aim(cpu['median'], one['cpu_target'])}".strip()
            memory = f"{_median(one['ours'], 'private') / 2**20:.0f} : {theirs / 2**20:.0f}"
        aimed = aim(wall["median"], one["target"])
        yield [title, one["peer"], spread(wall), aimed, _times(one, row["command_line"]), used, memory]


_HEAD = (
    "what", "against", "time, ratio", "target", "seconds: ours (by command line) : theirs", "CPU, ratio",
    "MiB: ours : theirs",
)  # fmt: skip


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; a first cell like the one above it is left empty."""
    rows = [head, ["---"] * len(head)]
    before = ""
    for line in lines:
        rows.append([line[0] if line[0] != before else "", *line[1:]])
        before = line[0]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def standing_table(found: Sequence[Json]) -> str:
    """What is no race."""
    lines = []
    for one in found:
        value = one["value"]
        digits = 0 if one["unit"] or float(value["median"]).is_integer() else 2
        text = spread(value, digits) + (f" {one['unit']}" if one["unit"] else "")
        lines.append([one["title"], text, aim(value["median"], one["target"], one["unit"]), one["beside"]])
    return table(("what", "measured", "target", "beside"), lines)


def _growth_table(one: Json) -> str:
    points = one["points"]
    head = one["title"] + (", MB" if one["unit"] == "MB" else "")
    lines = [
        ["time, against requests + zipfile", *(f"{point['ratio']:.2f}" for point in points)],
        ["seconds: ours : theirs", *(f"{point['wall']:.2g} : {point['theirs']:.2g}" for point in points)],
        ["MiB", *(f"{point['private'] / 2**20:.0f}" for point in points)],
    ]
    return table([head, *(f"{point['count']:,g}" for point in points)], lines)


def _growth_line(one: Json) -> str:
    each, memory = one["seconds_each"] * 1e3, one["bytes_each"] / 1024
    return (
        f"- {one['title']}: {one['start_seconds']:.2f} s, and {each:.3g} ms more for each {one['unit']}; no point is"
        f" further off that line than {one['off']:.0%}; memory {memory:.3g} KiB more\n"
    )


def growth_text(growth: Sequence[Json], shares: Json) -> str:
    """A table of each series, beside the simple way; and the slopes, in sentences."""
    whole = sum(shares.values())
    each = ", ".join(f"{name} {seconds / whole:.0%}" for name, seconds in sorted(shares.items(), key=lambda x: -x[1]))
    sentences = "".join(map(_growth_line, growth))
    sentences += f"- what a sync of the whole corpus goes to, by these slopes: {each}\n"
    return "\n".join([*map(_growth_table, growth), sentences])


def text(results: Json) -> str:
    """Everything that was measured, as Markdown."""
    machine = results["machine"]
    parts = [
        f"Pairs a row: at least {results['pairs']}, ours and theirs in turns; each ratio is ours divided by theirs, "
        "median (least … most). Our side is timed inside one process after imports, by command line in parentheses; "
        "processor time has start and imports of both sides in it. Of several settings of aria2 the one takes part "
        "that is fastest in a first try.\n",
        f"Machine: {'; '.join(f'{name}: {value}' for name, value in machine.items())}.\n",
    ]
    if results["rows"]:
        parts.append(table(_HEAD, [line for row in results["rows"] for line in row_lines(row)]))
    if any(row["link"] for row in results["rows"]):
        parts.append(
            "Links are shaped both ways between two network namespaces; bytes / rate leaves headers out, which alone "
            "cost 1.04.\n"
        )
    if results["standing"]:
        parts.append(standing_table(results["standing"]))
    if results["growth"]:
        parts.append(growth_text(results["growth"], results["shares"]))
    if results["left_out"]:
        parts.append("".join(f"- left out: {reason}\n" for reason in results["left_out"]))
    return "\n".join(parts)


def write_readme(readme: Path, body: str) -> None:
    """Put the text where the README has the two marks; with its section where it has none yet."""
    old = readme.read_text(encoding="utf-8")
    section = f"{_BEGIN}\n\n{body}\n{_END}"
    if _BEGIN in old:
        before, rest = old.split(_BEGIN, 1)
        new = before + section + rest.split(_END, 1)[1]
    else:
        before, heading, rest = old.partition("## For administrators")
        new = f"{before}## How fast\n\n{section}\n\n{heading}{rest}"
    readme.write_text(new, encoding="utf-8")
