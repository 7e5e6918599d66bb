"""What NATS' client for Python does with the embedded listener. Says `ok` and the name of each thing that is as it should be.

tests/bus/clients.rs runs it, and starts the server again when it says `restart`.
"""

import asyncio
import json
import os
import ssl
import sys

import nats
from nats.errors import Error, MaxPayloadError, TimeoutError

SERVER = os.environ["SWITCHBACK_BUS"]
TOKEN = os.environ["SWITCHBACK_TOKEN"]
EVENTS = "switchback.evt."
zones = 0


class Heard:
    """What a connection calls back about."""

    def __init__(self):
        self.errors, self.happened = [], []

    async def error(self, error):
        self.errors.append(str(error))

    def options(self):
        def note(what):
            async def happened():
                self.happened.append(what)

            return happened

        names = ["disconnected", "reconnected", "closed"]
        return {f"{name}_cb": note(name) for name in names} | {"error_cb": self.error}


async def until(what, holds):
    for _ in range(1200):
        if holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not until now: {what}")


async def connect(**options):
    return await nats.connect(SERVER, **({"allow_reconnect": False} | options))


async def ask(connection, subject, body=None, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    data = json.dumps(body or {}).encode()
    return await connection.request(subject, data, timeout=60, headers=headers or None)


async def make_zone(connection, **headers):
    global zones
    zones += 1
    name = f"zone-{zones}"
    reply = json.loads((await ask(connection, "switchback.cmd.CreateZone", {"name": name}, **headers)).data)
    return reply["inventory"]["uuid"]


def position_of(reply):
    return json.loads(reply.data)["position"]


def status(reply):
    return (reply.headers or {}).get("Nats-Service-Error-Code")


async def every_way_in():
    secret = {"token": TOKEN}
    by_password = {"user": "admin", "password": os.environ["SWITCHBACK_PASSWORD"]}
    by_key = {"nkeys_seed_str": os.environ["SWITCHBACK_NKEY"]}
    for way in (secret, by_password, by_key):
        connection = await connect(**way)
        reply = await ask(connection, "switchback.query.QueryZone", {"count": True})
        assert status(reply) is None, (list(way), reply.data)
        await connection.close()


async def wrong_credentials():
    for way in ({"token": "wrong"}, {"user": "admin", "password": "wrong"}):
        try:
            await connect(**way)
        except Error as error:
            assert "authorization" in str(error).lower(), error
        else:
            raise AssertionError(way)


async def nobody_until_a_header_says_who():
    heard = Heard()
    connection = await connect(**heard.options())
    assert status(await ask(connection, "switchback.query.QueryZone")) == "401"
    reply = await ask(connection, "switchback.query.QueryZone", Authorization=f"Bearer {TOKEN}")
    assert status(reply) is None
    await connection.subscribe(EVENTS + ">")
    await until("no events for nobody", lambda: any("permissions violation" in error.lower() for error in heard.errors))
    await connection.close()


async def headers_go_both_ways():
    connection = await connect(token=TOKEN)
    events = await connection.subscribe(EVENTS + "zone.*.Created")
    reply = await ask(connection, "switchback.cmd.CreateZone", {"name": "headed"}, X_Reason="to see", Nats_Msg_Id="one")
    again = await ask(connection, "switchback.cmd.CreateZone", {"name": "headed"}, X_Reason="to see", Nats_Msg_Id="one")
    assert reply.data == again.data
    position = json.loads(reply.data)["position"]
    assert reply.headers["X-Switchback-Position"] == str(position)
    event = await events.next_msg(timeout=60)
    assert event.headers["Nats-Msg-Id"] == event.headers["ce-id"] == str(position)
    assert event.headers["ce-specversion"] == "1.0"
    assert json.loads(event.data)["reason"] == "to see", event.data
    refused = await ask(connection, "switchback.cmd.CreateZone", {"name": ""})
    assert status(refused) == "400" and json.loads(refused.data)["code"] == "SYS.1007"
    dry = await ask(connection, "switchback.cmd.CreateZone", {"name": "dry"}, X_Dry_Run="true")
    assert json.loads(dry.data)["events"][0]["position"] == 0
    await connection.close()


async def wildcards():
    connection = await connect(token=TOKEN)
    heard = {}
    patterns = [">", "switchback.>", EVENTS + ">", EVENTS + "zone.>", EVENTS + "zone.*.*", EVENTS + "*.*.Created"]
    others = [EVENTS + "cluster.>", EVENTS + "zone.*.Updated", EVENTS + "*.*.Deleted"]

    def note(pattern):
        async def heard_one(message):
            heard.setdefault(pattern, []).append(message.subject)

        return heard_one

    for pattern in patterns[2:] + others:
        await connection.subscribe(pattern, cb=note(pattern))
    await connection.flush()
    zone = await make_zone(connection)
    subject = f"{EVENTS}zone.{zone}.Created"
    await until("every pattern that matches", lambda: all(heard.get(pattern) == [subject] for pattern in patterns[2:]))
    exact = await connection.subscribe(f"{EVENTS}zone.{zone}.Updated")
    await connection.flush()
    await ask(connection, "switchback.cmd.UpdateZone", {"uuid": zone, "description": "new"})
    assert (await exact.next_msg(timeout=60)).subject.endswith(".Updated")
    assert list(heard[EVENTS + "zone.*.Updated"]) == [f"{EVENTS}zone.{zone}.Updated"]
    assert not any(pattern in heard for pattern in others if "Updated" not in pattern)
    await connection.close()


async def queue_groups():
    connections = [await connect(token=TOKEN) for _ in range(3)]
    counts = [0, 0, 0]
    alone = []

    def count(member):
        async def one(_):
            counts[member] += 1

        return one

    async def alone_too(message):
        alone.append(message)

    for member, connection in enumerate(connections):
        await connection.subscribe(EVENTS + "zone.*.Created", queue="workers", cb=count(member))
    await connections[0].subscribe(EVENTS + "zone.*.Created", cb=alone_too)
    for connection in connections:
        await connection.flush()
    for _ in range(30):
        await make_zone(connections[0])
    await until("all of them", lambda: sum(counts) >= 30 and len(alone) >= 30)
    # A round trip: what was sent twice would be there by now.
    for connection in connections:
        await connection.flush()
    assert sum(counts) == 30 and len(alone) == 30 and min(counts) > 0, (counts, len(alone))
    for connection in connections:
        await connection.close()


async def unsubscribe():
    connection = await connect(token=TOKEN)
    two = []

    async def note(message):
        two.append(message)

    limited = await connection.subscribe(EVENTS + "zone.*.Created", cb=note)
    await limited.unsubscribe(limit=2)
    ended = await connection.subscribe(EVENTS + "zone.*.Created", cb=note)
    await ended.unsubscribe()
    last = await connection.subscribe(EVENTS + "zone.*.Created")
    await connection.flush()
    for _ in range(4):
        await make_zone(connection)
    for _ in range(4):
        await last.next_msg(timeout=60)
    assert len(two) == 2, two
    await connection.close()


async def drain():
    heard = Heard()
    connection = await connect(token=TOKEN, **heard.options())
    got = []

    async def slow(message):
        await asyncio.sleep(0.05)
        got.append(message)

    watching = await connection.subscribe(EVENTS + "zone.*.Created", cb=slow)
    await connection.flush()
    for _ in range(5):
        await make_zone(connection)
    await until("all have come", lambda: len(got) + watching.pending_msgs >= 5)
    await watching.drain()
    assert len(got) == 5, len(got)
    await make_zone(connection)
    await connection.drain()
    assert connection.is_closed and len(got) == 5 and heard.happened[-1] == "closed", heard.happened
    assert heard.errors == [], heard.errors


async def large_messages():
    connection = await connect(token=TOKEN)
    most = connection.max_payload
    try:
        await connection.publish("switchback.cmd.CreateZone", b"x" * (most + 1))
    except MaxPayloadError:
        pass
    else:
        raise AssertionError("a payload over the limit")
    for _ in range(40):
        await make_zone(connection)
    position = position_of(await ask(connection, "switchback.cmd.CreateZone", {"name": "last"}))
    reply = await ask(connection, "switchback.query.QueryZone", {"minPosition": position})
    assert len(json.loads(reply.data)["inventories"]) > 40 and len(reply.data) > 8192, reply.data
    # Many at a time, each answered by its own.
    names = ["QueryZone", "QueryHost", "QueryCluster", "QueryVip"] * 25
    replies = await asyncio.gather(*(ask(connection, f"switchback.query.{name}", {"count": True}) for name in names))
    assert not [reply.data for reply in replies if status(reply)]
    await connection.close()


async def what_is_not_for_clients():
    heard = Heard()
    connection = await connect(token=TOKEN, **heard.options())

    async def refused(subject):
        await until(f"that {subject} is refused", lambda: any(subject.lower() in error.lower() for error in heard.errors))

    # Whatever a client calls its inbox, it may hear there; who it is not for hears nothing.
    inbox = await connection.subscribe("orders.new.>")
    for subject in ("$SYS.>", "switchback.cmd.*", "switchback.events.replay"):
        await connection.subscribe(subject)
        await refused(subject)
    for subject in ("orders.new.one", f"{EVENTS}zone.x.Created"):
        await connection.publish(subject, b"{}")
        await refused(subject)
    assert all("permissions violation" in error.lower() for error in heard.errors), heard.errors
    assert inbox.pending_msgs == 0
    # The connection goes on.
    assert status(await ask(connection, "switchback.query.QueryZone", {"count": True})) is None
    try:
        await connection.jetstream().account_info()
    except Error as error:
        assert not isinstance(error, TimeoutError), "it is said at once"
    else:
        raise AssertionError("there is no JetStream")
    unknown = await ask(connection, "switchback.cmd.CreateZon")
    assert status(unknown) == "404", unknown.data
    await connection.close()


async def catching_up_by_credit():
    connection = await connect(token=TOKEN)
    for _ in range(5):
        await make_zone(connection)
    seen, head = 0, None
    while head is None or seen < head:
        inbox = connection.new_inbox()
        page = await connection.subscribe(inbox)
        await connection.publish("switchback.events.replay", json.dumps({"after": seen, "credit": 7}).encode(), reply=inbox)
        count = 0
        while True:
            message = await page.next_msg(timeout=60)
            if message.headers.get("Switchback-Replay") == "end":
                break
            assert int(message.headers["Nats-Msg-Id"]) == seen + 1
            assert message.headers["Switchback-Subject"].startswith(EVENTS)
            seen, count = seen + 1, count + 1
        end = json.loads(message.data)
        assert end["events"] == count <= 7 and end["examined"] >= seen, end
        head = end["head"]
        await page.unsubscribe()
    await connection.close()


async def reconnects():
    heard = Heard()
    connection = await connect(
        token=TOKEN, allow_reconnect=True, max_reconnect_attempts=-1, reconnect_time_wait=0.1, **heard.options()
    )
    watching = await connection.subscribe(EVENTS + "zone.*.Created")
    grouped = await connection.subscribe(EVENTS + "zone.*.Created", queue="workers")
    await connection.flush()
    print("restart")
    await asyncio.to_thread(sys.stdin.readline)
    await until("the connection is back", lambda: "reconnected" in heard.happened)
    zone = await make_zone(connection)
    for subscription in (watching, grouped):
        assert zone in (await subscription.next_msg(timeout=60)).subject
    assert heard.happened[:2] == ["disconnected", "reconnected"]
    await connection.close()


async def over_tls():
    trusted = ssl.create_default_context(cafile=os.environ["SWITCHBACK_CA"])
    connection = await connect(token=TOKEN, tls=trusted)
    assert status(await ask(connection, "switchback.query.QueryZone")) is None
    await make_zone(connection)
    await connection.close()
    try:
        await connect(token=TOKEN, tls=ssl.create_default_context())
    except (ssl.SSLError, Error):
        pass
    else:
        raise AssertionError("a certificate of nobody")


CHECKS = [
    every_way_in, wrong_credentials, nobody_until_a_header_says_who, headers_go_both_ways, wildcards, queue_groups,
    unsubscribe, drain, large_messages, what_is_not_for_clients, catching_up_by_credit, reconnects,
]  # fmt: skip


async def main():
    for check in [over_tls] if "SWITCHBACK_CA" in os.environ else CHECKS:
        await asyncio.wait_for(check(), 100)
        print(f"ok {check.__name__}")


asyncio.run(main())
