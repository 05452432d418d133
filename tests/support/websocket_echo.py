"""A WebSocket service and its client.

websocket_echo.py serve PORT       echoes until it is told to end; clients then get a close frame
websocket_echo.py check URL        text, binary, ping, close; prints what came as JSON
websocket_echo.py load URL         talks until standard input ends; prints {"answered", "failures"}
"""

import asyncio, json, signal, sys

import websockets


async def echo(socket, _path=None):
    try:
        async for message in socket:
            await socket.send(message)
    except websockets.ConnectionClosed:
        pass


async def plain(path, headers):
    if path == "/health":
        return 200, [], b"ok\n"


async def serve(port):
    stop = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set_result, None)
    async with websockets.serve(echo, "0.0.0.0", int(port), process_request=plain, subprotocols=["chat"]):
        await stop


async def check(url):
    async with websockets.connect(url, subprotocols=["chat"], extra_headers={"X-Story": "1"}) as socket:
        found = {"protocol": socket.subprotocol}
        await socket.send("hello")
        found["text"] = await socket.recv()
        await socket.send(b"\x00" * 300_000)
        found["binary"] = len(await socket.recv())
        await asyncio.wait_for(await socket.ping(), 20)
    found["close"] = socket.close_code
    print(json.dumps(found))


async def load(url):
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def watch():
        sys.stdin.read()
        loop.call_soon_threadsafe(stop.set)

    loop.run_in_executor(None, watch)
    answered, failures = 0, []

    async def client():
        nonlocal answered
        while not stop.is_set():
            try:
                async with websockets.connect(url) as socket:
                    for n in range(20):
                        await socket.send(str(n))
                        if await socket.recv() != str(n):
                            raise ValueError("another word came back")
                        await asyncio.sleep(0.002)
                answered += 1
            except websockets.ConnectionClosedOK:
                answered += 1  # The task said goodbye in order.
            except websockets.ConnectionClosedError as error:
                if error.rcvd and error.rcvd.code == 1001:
                    answered += 1
                else:
                    failures.append(repr(error)[:300])
            except Exception as error:
                failures.append(repr(error)[:300])

    await asyncio.gather(*(client() for _ in range(3)))
    print(json.dumps({"answered": answered, "failures": failures}), flush=True)


asyncio.run({"serve": serve, "check": check, "load": load}[sys.argv[1]](sys.argv[2]))
