"""An orchestrator: makes a site if there is none, a VM with two nics and an EIP, and follows every event meanwhile.

    SWITCHBACK_TOKEN=... python orchestrator.py [--follow]

With --follow it goes on following until it is interrupted. SWITCHBACK_BUS says where the bus is, SWITCHBACK_SEEN
in which file the position of the last event is kept; the next run begins behind it.
"""

import asyncio
import json
import os
import pathlib
import sys
import uuid

import nats
from nats.errors import NoRespondersError, TimeoutError

SERVER = os.environ.get("SWITCHBACK_BUS", "nats://127.0.0.1:4222")
TOKEN = os.environ["SWITCHBACK_TOKEN"]
AUTHORIZATION = {"Authorization": f"Bearer {TOKEN}"}
SEEN = pathlib.Path(os.environ.get("SWITCHBACK_SEEN", "orchestrator.seen"))
# How long a reply or an event may be silent until it is asked for again.
PATIENCE = 3


class Refused(Exception):
    """Switchback says no: a problem of RFC 9457."""

    def __init__(self, problem):
        super().__init__(f"{problem['code']}: {problem['detail']}")
        self.problem = problem


def refuse(reply):
    if "Nats-Service-Error-Code" in (reply.headers or {}):
        raise Refused(json.loads(reply.data))


class Bus:
    """Asks, until there is an answer."""

    def __init__(self, connection):
        self.connection = connection
        self.position = 0  # Of the newest reply: queries see at least this.

    async def ask(self, subject, parameters, headers):
        body, headers = json.dumps(parameters).encode(), AUTHORIZATION | headers
        while True:
            try:
                reply = await self.connection.request(subject, body, timeout=PATIENCE, headers=headers)
            except (NoRespondersError, TimeoutError):
                # Nobody there, or the reply was lost on its way. Asking again does no harm: see `command`.
                await asyncio.sleep(0.2)
                continue
            if "Retry-After" in reply.headers:
                await asyncio.sleep(int(reply.headers["Retry-After"]))
                continue
            refuse(reply)
            answer = json.loads(reply.data)
            self.position = max(self.position, answer.get("position", 0))
            return answer

    async def command(self, message, **parameters):
        """Takes effect once, however often it is sent: by its id. Done when hosts and routers have it."""
        headers = {"Nats-Msg-Id": str(uuid.uuid4()), "X-Reason": "made by the orchestrator"}
        while True:
            reply = await self.ask(f"switchback.cmd.{message}", parameters, headers)
            if reply["applied"]:
                return reply["inventory"]

    async def ensure(self, create, query, name, **parameters):
        """What has this name; it is made if there is none."""
        conditions = {"q": [f"name={name}"], "minPosition": self.position}
        found = (await self.ask(f"switchback.query.{query}", conditions, {}))["inventories"]
        if found:
            print(f"{name}: is there")
            return found[0]
        made = await self.command(create, name=name, **parameters)
        print(f"{name}: made by {create}")
        return made


class Follower:
    """Every event once and in order, whatever happens to the connection: live ones, and the past where one is missing."""

    def __init__(self, connection):
        self.connection = connection
        self.seen = int(SEEN.read_text()) if SEEN.exists() else 0
        self.moved = asyncio.Condition()

    async def run(self):
        live = await self.connection.subscribe("switchback.evt.>")
        while True:
            await self.catch_up()
            while True:
                try:
                    message = await live.next_msg(timeout=PATIENCE)
                except TimeoutError:
                    break  # Nothing happened, or the connection was lost: the past knows.
                if int(message.headers["Nats-Msg-Id"]) > self.seen + 1:
                    break  # One is missing. What was skipped here comes again from the past.
                await self.take(message)

    async def catch_up(self):
        """Asks for the past behind the last position seen, page by page."""
        while True:
            inbox = self.connection.new_inbox()
            page = await self.connection.subscribe(inbox)
            wanted = json.dumps({"after": self.seen, "credit": 500}).encode()
            await self.connection.publish("switchback.events.replay", wanted, reply=inbox, headers=AUTHORIZATION)
            try:
                while "Switchback-Replay" not in ((message := await page.next_msg(timeout=PATIENCE)).headers or {}):
                    refuse(message)
                    if (message.headers or {}).get("Status") == "503":
                        await asyncio.sleep(0.2)
                        raise TimeoutError
                    await self.take(message)
                if self.seen >= json.loads(message.data)["head"]:
                    return
            except TimeoutError:
                pass
            finally:
                await page.unsubscribe()

    async def take(self, message):
        position = int(message.headers["Nats-Msg-Id"])
        if position != self.seen + 1:
            return
        event = json.loads(message.data)
        print(f"event {position} {event['kind']} {event['streamId']} by {event['command']}")
        # Whole or not at all, whenever this program ends.
        written = SEEN.with_suffix(".new")
        written.write_text(str(position))
        written.replace(SEEN)
        async with self.moved:
            self.seen = position
            self.moved.notify_all()

    async def until(self, position):
        async with self.moved:
            await self.moved.wait_for(lambda: self.seen >= position)


async def network(bus, zone, rack, name, vlan, category, net, services=()):
    l2 = await bus.ensure(
        "CreateL2VlanNetwork", "QueryL2VlanNetwork", f"{name}-l2", zoneUuid=zone, vlan=vlan, physicalInterface="eth0"
    )
    if rack not in l2["attachedClusterUuids"]:
        await bus.command("AttachL2NetworkToCluster", l2NetworkUuid=l2["uuid"], clusterUuid=rack)
    l3 = await bus.ensure(
        "CreateL3Network", "QueryL3Network", name,
        l2NetworkUuid=l2["uuid"], category=category, system=category == "System",
    )  # fmt: skip
    await bus.ensure(
        "AddIpRange", "QueryIpRange", f"{name}-range", l3NetworkUuid=l3["uuid"],
        startIp=f"{net}.10", endIp=f"{net}.99", netmask="255.255.255.0", gateway=f"{net}.1",
    )  # fmt: skip
    if services and not l3["networkServices"]:
        wanted = {"VirtualRouter": list(services)}
        await bus.command("AttachNetworkServiceToL3Network", l3NetworkUuid=l3["uuid"], networkServices=wanted)
    return l3["uuid"]


async def orchestrate(bus):
    zone = (await bus.ensure("CreateZone", "QueryZone", "east"))["uuid"]
    rack = await bus.ensure("CreateCluster", "QueryCluster", "rack", zoneUuid=zone, hypervisorType="Simulator")
    rack = rack["uuid"]
    await bus.ensure("AddSimulatorHost", "QueryHost", "host-1", clusterUuid=rack, managementIp="192.168.0.10")
    image = await bus.ensure("AddImage", "QueryImage", "router", url="http://images.test/router.qcow2", system=True)
    management = await network(bus, zone, rack, "management", 10, "System", "172.20.0")
    public = await network(bus, zone, rack, "public", 20, "Public", "203.0.113")
    web = await network(bus, zone, rack, "web", 30, "Private", "10.0.0", ("DHCP", "DNS", "SNAT", "Eip"))
    data = await network(bus, zone, rack, "data", 40, "Private", "10.0.1", ("DHCP", "DNS"))
    await bus.ensure(
        "CreateVirtualRouterOffering", "QueryVirtualRouterOffering", "small-router",
        zoneUuid=zone, imageUuid=image["uuid"], managementNetworkUuid=management, publicNetworkUuid=public,
        cpuNum=1, memorySize=1 << 28,
    )  # fmt: skip
    small = await bus.ensure("CreateInstanceOffering", "QueryInstanceOffering", "small", cpuNum=1, memorySize=1 << 28)
    vm = await bus.ensure(
        "CreateVmInstance", "QueryVmInstance", "web-1", l3NetworkUuids=[web, data], instanceOfferingUuid=small["uuid"]
    )
    nic = next(nic for nic in vm["vmNics"] if nic["l3NetworkUuid"] == web)
    print(f"web-1: {len(vm['vmNics'])} nics, {vm['state']}")
    vip = await bus.ensure("CreateVip", "QueryVip", "web-1-vip", l3NetworkUuid=public)
    eip = await bus.ensure("CreateEip", "QueryEip", "web-1-eip", vipUuid=vip["uuid"], vmNicUuid=nic["uuid"])
    print(f"web-1-eip: {eip['vipIp']} leads to {eip['guestIp']}, and its router has it")


async def complain(error):
    print(f"bus: {error or type(error).__name__}", file=sys.stderr)


async def main():
    connection = await nats.connect(
        SERVER,
        # The embedded listener knows who is there by the token; a server in between has accounts of its own.
        token=None if "@" in SERVER else TOKEN,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.2,
        error_cb=complain,
    )
    bus, follower = Bus(connection), Follower(connection)

    async def work():
        await orchestrate(bus)
        await follower.until(bus.position)
        # Again if need be: before Python 3.12, one that comes together with an event is lost.
        while "--follow" not in sys.argv and not following.done():
            following.cancel()
            await asyncio.sleep(0.1)

    following = asyncio.create_task(follower.run())
    try:
        await asyncio.gather(work(), following)
    except asyncio.CancelledError:
        pass
    await connection.close()


try:
    asyncio.run(main())
except Refused as refused:
    sys.exit(f"refused: {refused}")
except KeyboardInterrupt:
    pass
