"""All upstreams there are: nodes of this machine, leased nodes of others, and the listed ones.

Rule: a node that is both here and leased is one node, and it is the one that is here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import structlog
import trio

from proxy.links import Link, connect, find_sockets
from proxy.loop import Loop
from proxy.settings import Settings
from proxy.upstreams import HealthRules, Upstream, pick
from proxy.values import Address
from rtserver.protocol.handoff import LeasedState, socket_name
from rtserver.protocol.sid import Owner

SCAN_EVERY = 0.5

log = structlog.get_logger("proxy")


class Pool:
    """The upstreams of a proxy.

    Args:
        loop: Watches the connections to nodes of this machine.
        directory: Where those are found.
        settings: Which ones are listed, and the rules of health.
    """

    def __init__(self, loop: Loop, directory: Path, settings: Settings) -> None:
        self.links: dict[int, Link] = {}
        self.leased: dict[int, Upstream] = {}
        self.listed: list[Upstream] = []
        self.rules = HealthRules()
        self._loop = loop
        self._directory = directory
        self._candidates: list[Upstream] | None = None
        self._heard = trio.Event()
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Take the listed upstreams and the rules from the settings; what is known of those that stay is kept."""
        self.rules = HealthRules(settings.eject_after, settings.eject_seconds, settings.slow_start)
        known = {(one.address, one.slot): one for one in self.listed}
        self.listed = []
        for address, slot in settings.upstreams:
            upstream = known.get((address, slot)) or Upstream(str(address), address, trio.current_time())
            upstream.slot = slot
            self.listed.append(upstream)
        self._candidates = None

    @property
    def candidates(self) -> list[Upstream]:
        """All that there are, each once."""
        if self._candidates is None:
            elsewhere = [one for slot, one in self.leased.items() if not self._is_here(one, slot)]
            self._candidates = [*self.links.values(), *elsewhere, *self.listed]
        return self._candidates

    def _is_here(self, leased: Upstream, slot: int) -> bool:
        link = self.links.get(slot)
        return link is not None and link.incarnation in (None, leased.incarnation)

    def pick(self, now: float, without: Iterable[Upstream] = ()) -> Upstream | None:
        """One for a client that has no session; None when nobody is ready."""
        candidates = self.candidates
        tried = list(without)
        if tried:
            candidates = [one for one in candidates if one not in tried]
        return pick(candidates, now, self.rules)

    def holder(self, owner: Owner) -> Upstream | None:
        """The node that has a slot, in that life of it; None when it is not there."""
        link = self.links.get(owner.slot) or self._look_for(owner.slot)
        if link is not None and link.incarnation in (None, owner.incarnation):
            # One that has not said anything yet may have the session, and says so itself if it has not.
            return link
        leased = self.leased.get(owner.slot)
        if leased is not None and leased.incarnation == owner.incarnation:
            return leased
        return next((one for one in self.listed if one.slot == owner.slot), None)

    def failed(self, upstream: Upstream, *, certain: bool = False) -> None:
        """A request has failed by an upstream's fault."""
        if upstream.failed_at(trio.current_time(), self.rules, certain=certain):
            log.warning("upstream_ejected", upstream=upstream.name)

    def succeeded(self, upstream: Upstream) -> None:
        """An upstream has answered."""
        if upstream.succeeded_at(trio.current_time()):
            log.info("upstream_recovered", upstream=upstream.name)

    # Nodes of this machine.

    def scan(self) -> None:
        """Connect to nodes that have come."""
        try:
            found = find_sockets(self._directory)
        except OSError:
            # It is made when the first node starts.
            return
        for slot, path in found.items():
            if slot not in self.links:
                self._connect(slot, path)

    def _look_for(self, slot: int) -> Link | None:
        return self._connect(slot, self._directory / socket_name(slot))

    def _connect(self, slot: int, path: Path) -> Link | None:
        sock = connect(path)
        if sock is None:
            return None
        link = Link(self._loop, slot, sock, trio.current_time(), self._on_heard, self._forget)
        self.links[slot] = link
        self._candidates = None
        # It says how it is before anything else.
        link.on_ready()
        self._candidates = None
        return None if link.closed else link

    def _on_heard(self) -> None:
        self._heard.set()
        self._heard = trio.Event()

    async def hear(self) -> None:
        """Find the nodes of this machine, and wait until each has said how it is."""
        self.scan()
        while any(link.heard_at is None for link in self.links.values()):
            await self._heard.wait()

    def _forget(self, link: Link) -> None:
        self._candidates = None
        self._on_heard()
        if self.links.get(link.slot or 0) is link:
            del self.links[link.slot or 0]
            log.info("node_gone", slot=link.slot)

    # Nodes of other machines.

    def lease(self, states: Iterable[LeasedState], addresses: dict[int, Address]) -> None:
        """The leased nodes are these now.

        Args:
            states: What their keys contain.
            addresses: Where they listen, by slot. One without an address cannot be relayed to.
        """
        before, self.leased = self.leased, {}
        for state in states:
            address = addresses.get(state.slot)
            if address is None:
                continue
            upstream = before.get(state.slot)
            if upstream is None or (upstream.address, upstream.incarnation) != (address, state.incarnation):
                name = f"node-{state.slot}@{state.host}"
                upstream = Upstream(name, address, trio.current_time())
            upstream.slot, upstream.incarnation = state.slot, state.incarnation
            if upstream.sessions != state.sessions or upstream.state != state.state:
                upstream.sent = 0
            upstream.state, upstream.sessions = state.state, state.sessions
            self.leased[state.slot] = upstream
        self._candidates = None

    async def run(self) -> None:
        """Look for new nodes of this machine now and then."""
        self.scan()
        while True:
            await trio.sleep(SCAN_EVERY)
            self.scan()

    def close(self) -> None:
        for link in list(self.links.values()):
            link.close()
