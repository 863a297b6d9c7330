"""Does each fault of a bad day to a real cluster under load, and writes down what came of it.

usage: python -m benchmarks.chaos [--only NAME,NAME] [--clients N] …

Exit status 1 if something that must hold did not.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import click
import msgspec

from benchmarks.chaos.cluster import Broken, Cluster, running_cluster
from benchmarks.chaos.consumers import slow_consumers
from benchmarks.chaos.crowds import CROWD_SETTINGS, churn, crowd
from benchmarks.chaos.descriptors import FILES, out_of_descriptors
from benchmarks.chaos.nodes import (
    DRAIN_SETTINGS,
    RECOVERY_SETTINGS,
    node_killed,
    rolling_restart,
    rolling_restart_recovered,
)
from benchmarks.chaos.proxies import proxy_killed, proxy_replaced
from benchmarks.chaos.relay import redis_down, redis_frozen
from benchmarks.chaos.rows import Row, as_json, as_markdown
from benchmarks.chaos.sizes import Sizes

BUILD = Path(__file__).parents[1] / "build"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is done to a cluster.

    Args:
        do: Does it, and measures.
        settings: Of the cluster, as environment variables.
        files: Descriptors that each process of it may have, if not as many as this one.
    """

    do: Callable[[Cluster, Sizes], Row]
    settings: Mapping[str, str] = field(default_factory=dict)
    files: int | None = None


FAULTS = {
    "node-killed": Fault(node_killed),
    "rolling-restart": Fault(rolling_restart, DRAIN_SETTINGS),
    "rolling-recovered": Fault(rolling_restart_recovered, RECOVERY_SETTINGS),
    "proxy-killed": Fault(proxy_killed),
    "proxy-replaced": Fault(proxy_replaced),
    "redis-down": Fault(redis_down),
    "redis-frozen": Fault(redis_frozen),
    "crowd": Fault(crowd, CROWD_SETTINGS),
    "slow-consumers": Fault(slow_consumers),
    "churn": Fault(churn, CROWD_SETTINGS),
    "descriptors": Fault(out_of_descriptors, files=FILES),
}


@click.command()
@click.option("--only", default="", metavar="NAME,…", help=f"Of: {', '.join(FAULTS)}.")
@click.option("--nodes", type=click.IntRange(2), help="Nodes of the cluster.")
@click.option("--clients", type=click.IntRange(2), help="Clients that talk while a fault happens.")
@click.option("--crowd", type=click.IntRange(1), help="Clients that connect again at once.")
@click.option("--churn", type=click.IntRange(1), help="Connections that come and go.")
@click.option("--seconds", type=click.FloatRange(0.0), help="Of load before a fault, and again after it.")
@click.option("--json", "file", type=click.Path(path_type=Path), default=BUILD / "chaos.json", help="Where to write.")
def main(only: str, file: Path, **counts: float | None) -> None:
    """Measure what must hold on bad days; exit with 1 if something did not."""
    sizes = msgspec.convert({name: count for name, count in counts.items() if count is not None}, Sizes)
    rows = [_measured(name, sizes) for name in _chosen(only)]
    file.parent.mkdir(exist_ok=True)
    told = {"sizes": asdict(sizes), "rows": as_json(rows)}
    file.write_text(json.dumps(told, indent=1) + "\n")
    click.echo(f"\n{as_markdown(rows)}")
    sys.exit(0 if all(row.holds for row in rows) else 1)


def _chosen(only: str) -> list[str]:
    names = [name.strip() for name in only.split(",") if name.strip()]
    if unknown := [name for name in names if name not in FAULTS]:
        raise click.BadParameter(f"{', '.join(unknown)}; there are {', '.join(FAULTS)}", param_hint="--only")
    return names or list(FAULTS)


def _measured(name: str, sizes: Sizes) -> Row:
    """One fault, done to a cluster of its own."""
    BUILD.mkdir(exist_ok=True)
    begun, fault = time.monotonic(), FAULTS[name]
    try:
        log = BUILD / f"chaos-{name}.log"
        with running_cluster(sizes.nodes, log, files=fault.files, **fault.settings) as cluster:
            row = fault.do(cluster, sizes)
    except Broken as exc:
        row = Row(name, "the fault can be done and is over in time", broken=[str(exc)])
    verdict = "holds" if row.holds else f"DOES NOT HOLD: {'; '.join(row.broken)}"
    click.echo(f"{name}: {verdict} ({time.monotonic() - begun:.0f} s)")
    return row


if __name__ == "__main__":
    main()
