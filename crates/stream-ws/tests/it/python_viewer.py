"""A viewer on Python's websockets: says in JSON lines what it sees, comes back twice, and tries what must be refused."""

import asyncio
import json
import sys

import websockets


async def messages(url, count, **options):
    async with websockets.connect(url, compression=None, **options) as socket:
        return [json.loads(await socket.recv()) for _ in range(count)]


def say(what, **values):
    print(json.dumps({"what": what, **values}), flush=True)


async def refused(url, **options):
    try:
        async with websockets.connect(url, **options) as socket:
            async for _ in socket:
                pass
            return socket.close_code
    except websockets.exceptions.InvalidStatus as error:
        return error.response.status_code
    except websockets.exceptions.ConnectionClosed as error:
        return error.rcvd.code


async def main(url, token):
    bearer = {"additional_headers": {"Authorization": f"Bearer {token}"}}
    async with websockets.connect(url, **bearer) as socket:
        summary = json.loads(await socket.recv())
        assert summary["type"] == "progress_summary", summary
        say("ready", seq=summary["data"]["seq"], extensions=len(socket.protocol.extensions))
        await socket.send(json.dumps({"type": "ping"}))
        seen = [json.loads(await socket.recv()) for _ in range(4)]
        await (await socket.ping())
    say("seen", types=sorted(m["type"] for m in seen), seqs=[m["data"]["seq"] for m in seen if "data" in m])
    # Away; whoever reads our lines writes meanwhile.
    sys.stdin.readline()
    last = max(m["data"]["seq"] for m in seen if "data" in m)
    again = f"{url}?upgrade={summary['data']['upgrade_id']}&epoch={summary['data']['epoch']}&since={last}"
    back = await messages(again, 4, **bearer)
    say("back", types=[m["type"] for m in back], seqs=[m["data"]["seq"] for m in back])
    # The other ways to show the token.
    protocols = ["ekstrack", f"ekstrack.token.{token}"]
    async with websockets.connect(url, subprotocols=protocols) as socket:
        say("subprotocol", chosen=socket.subprotocol, type=json.loads(await socket.recv())["type"])
    async with websockets.connect(url) as socket:
        await socket.send(json.dumps({"type": "auth", "data": {"token": token}}))
        say("auth", type=json.loads(await socket.recv())["type"])
    say(
        "refused",
        wrong_token=await refused(url, additional_headers={"Authorization": "Bearer wrong"}),
        origin=await refused(url, origin="https://evil.example.com", **bearer),
        unknown=await refused(f"{url}?upgrade=nobody", **bearer),
    )


asyncio.run(main(*sys.argv[1:]))
