"""Python's websockets.broadcast: prints its address, then for each line `times per_second` the processor time it took."""

import asyncio
import sys
import time

from websockets.asyncio.server import broadcast, serve


async def main(text):
    clients = set()

    async def viewer(socket):
        clients.add(socket)
        await socket.wait_closed()

    async with serve(viewer, "127.0.0.1", 0, compression=None, ping_interval=None) as server:
        print("%s:%d" % server.sockets[0].getsockname()[:2], flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            times, per_second = map(int, line.split())
            begin, used = time.monotonic(), time.process_time()
            for n in range(times):
                if per_second:
                    await asyncio.sleep(max(0, begin + n / per_second - time.monotonic()))
                broadcast(clients, text)
                if not per_second and n % 8 == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(1.0)
            print(len(clients), time.process_time() - used, flush=True)


asyncio.run(main(sys.argv[1]))
