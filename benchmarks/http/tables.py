"""What was measured, as tables and a picture."""

from collections.abc import Mapping, Sequence

from ..report import Plot, Table
from ..statistics import Spread, ratios, short
from .rounds import Measured, Measurements
from .systems import ORM, OURS_ORM
from .work import TITLES

Titles = Mapping[str, str]


def tables(
    found: Measurements, saturated: Measurements, titles: Titles, reference: str
) -> list[Table]:
    """Return a summary for each number of connections, then one table for each case."""
    numbers = sorted({number for _, number in found}, reverse=True)
    made = [_shares(found, connections, titles, reference) for connections in numbers]
    for (case, connections), by_system in found.items():
        made.append(_details(f"{TITLES[case]}, {_connections(connections)}", by_system, titles))
    for (case, connections), by_system in saturated.items():
        caption = f"{TITLES[case]}, {_connections(connections)}, the pool saturated"
        made.append(_details(caption, by_system, titles))
    return made


def plot(found: Measurements, titles: Titles, reference: str) -> Plot:
    """Return the shares at the most connections."""
    connections = max(number for _, number in found)
    cases = [case for case, number in found if number == connections]
    names = [name for name in titles if all(name in found[case, connections] for case in cases)]
    shares = {
        titles[name]: [_share(found[case, connections], name, reference).median for case in cases]
        for name in names
    }
    title = f"Share of the bare limit, {_connections(connections)}"
    return Plot(title, "CPU of bare / CPU", [TITLES[case] for case in cases], shares)


def _shares(found: Measurements, connections: int, titles: Titles, reference: str) -> Table:
    cases = [case for case, number in found if number == connections]
    rows = [
        [titles[name], *(_cell(found[case, connections], name, reference) for case in cases)]
        for name in titles
    ]
    for name in ("ours", OURS_ORM):
        if all({name, ORM} <= found[case, connections].keys() for case in cases):
            times = [str(_share(found[case, connections], name, ORM)) for case in cases]
            rows.append([f"**{titles[name]}, times the ORM's**", *times])
    caption = f"Share of the bare limit, {_connections(connections)}"
    return Table(caption, ["system", *(TITLES[case] for case in cases)], rows)


def _cell(by_system: Mapping[str, Sequence[Measured]], name: str, reference: str) -> str:
    return str(_share(by_system, name, reference)) if name in by_system else ""


def _share(by_system: Mapping[str, Sequence[Measured]], name: str, reference: str) -> Spread:
    """Cost of the reference by cost of the system; of the first system if there is no reference."""
    first = by_system.get(reference) or next(iter(by_system.values()))
    return ratios([m.cost for m in first], [m.cost for m in by_system[name]])


def _details(caption: str, by_system: Mapping[str, Sequence[Measured]], titles: Titles) -> Table:
    first = next(iter(by_system.values()))
    rows = []
    for name, rounds in by_system.items():
        rows.append(
            [
                titles[name],
                str(ratios([m.cost for m in first], [m.cost for m in rounds])),
                str(Spread.of([m.cost for m in rounds])),
                short(Spread.of([m.rate for m in rounds]).median),
                short(Spread.of([m.load.p99 / 1000 for m in rounds]).median),
                str(ratios([m.load.p99 for m in rounds], [m.load.p99 for m in first])),
            ]
        )
    columns = ["system", "share", "CPU µs / request", "requests / s", "p99 ms", "p99, by the first"]
    return Table(caption, columns, rows)


def _connections(number: int) -> str:
    return "1 connection" if number == 1 else f"{number} connections"
