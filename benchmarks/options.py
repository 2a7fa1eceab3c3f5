"""The command line."""

import argparse
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .errors import BenchmarkError


@dataclass(frozen=True)
class Options:
    """What to run, and how long; empty lists mean everything."""

    groups: list[str] = field(default_factory=list)
    short: bool = False
    write: bool = False
    rounds: int = 5
    seconds: float = 2.0
    only: list[str] = field(default_factory=list)
    cases: list[str] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    requests: int = 200_000
    python: str = ""
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def writes(self) -> bool:
        """Whether the results are kept: what was measured in part is not."""
        partial = self.only or self.cases or self.connections or self.settings
        return self.write and not (self.short or partial)


def parse(arguments: Sequence[str], groups: Iterable[str]) -> Options:
    """Return the options; ends with status 2 and a usage line when they make no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Ratios, measured interleaved in one run."
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=", ".join(groups))
    parser.add_argument("--short", action="store_true", help="try the harness; measures nothing")
    parser.add_argument(
        "--write",
        action="store_true",
        help="update RESULTS.md, unless in part",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one load (http)")
    parser.add_argument("--only", type=_names, default=[], help="systems (http): bare,ours")
    parser.add_argument(
        "--cases", type=_names, default=[], help="of http and memory: get,page,count,post"
    )
    parser.add_argument("--connections", type=_numbers, default=[], help="of http: 1,32")
    parser.add_argument(
        "--python",
        type=_version,
        default="",
        metavar="VERSION",
        help="measure everything on this Python, 3.13 for example; a result of its own (needs uv)",
    )
    parser.add_argument(
        "--requests", type=int, default=200_000, help="of memory, in all: 1000000 is a soak"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="KEY=VALUE",
        help="a variable of the service: `ours` with it is measured beside `ours` (http)",
    )
    found = vars(parser.parse_args(arguments))
    unknown = set(found["groups"]) - set(groups)
    if unknown or min(found["rounds"], found["requests"]) < 1 or found["seconds"] <= 0:
        parser.error(f"no group {', '.join(sorted(unknown))}" if unknown else "nothing to measure")
    try:
        found["settings"] = dict(_setting(text) for text in found["settings"])
    except BenchmarkError as error:
        parser.error(str(error))
    return Options(**found)


def select(names: Sequence[str], chosen: Sequence[str], what: str) -> list[str]:
    """Return the chosen names, or all; raises BenchmarkError for an unknown one."""
    unknown = set(chosen) - set(names)
    if unknown:
        raise BenchmarkError(f"No {what} {min(unknown)!r}: choose from {', '.join(names)}.")
    return [name for name in names if name in chosen or not chosen]


def _version(text: str) -> str:
    if text and not re.fullmatch(r"3(\.\d+){1,2}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no version such as 3.13")
    return text


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    return [int(name) for name in _names(text)]


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise BenchmarkError(f"--set {text}: write KEY=VALUE.")
    return name, value
