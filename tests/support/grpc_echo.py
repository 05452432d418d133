"""A gRPC service without generated code, and its client.

grpc_echo.py serve PORT             serves until it is told to end (TERM: what is open goes on)
grpc_echo.py check HOST:PORT        calls everything once and prints what came as JSON
grpc_echo.py load HOST:PORT         calls until standard input ends; prints {"answered", "failures"}
"""

import json, signal, sys, threading
from concurrent import futures

import grpc

SERVICE = "story.Echo"


def unary(request, context):
    context.set_trailing_metadata((("checksum", str(len(request))),))
    return request


def repeat(request, context):
    for n in range(int(request)):
        yield str(n).encode()


def join(requests, context):
    return b",".join(requests)


def chat(requests, context):
    for request in requests:
        yield b"echo " + request


def fail(request, context):
    context.set_trailing_metadata((("why", "told"),))
    context.abort(grpc.StatusCode.NOT_FOUND, "nothing is here: 100 %")


def serve(port):
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
        "Join": grpc.stream_unary_rpc_method_handler(join),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    server.add_insecure_port(f"0.0.0.0:{port}")
    server.start()
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    done.wait()
    server.stop(grace=5).wait()


def method(channel, kind, name):
    return getattr(channel, kind)(f"/{SERVICE}/{name}")


def check(target):
    with grpc.insecure_channel(target) as channel:
        found = {}
        answer, call = method(channel, "unary_unary", "Unary").with_call(b"x" * 100_000, timeout=20)
        found["unary"] = len(answer)
        found["trailers"] = dict(call.trailing_metadata()).get("checksum")
        found["repeat"] = [int(n) for n in method(channel, "unary_stream", "Repeat")(b"200", timeout=20)]
        join = method(channel, "stream_unary", "Join")
        found["join"] = join(iter([b"a", b"b", b"c"]), timeout=20).decode()
        # Each word is sent when the answer to the one before has come.
        turn, heard = threading.Semaphore(1), []

        def words():
            for word in (b"one", b"two", b"three"):
                turn.acquire()
                yield word

        for answer in method(channel, "stream_stream", "Chat")(words(), timeout=20):
            heard.append(answer.decode())
            turn.release()
        found["chat"] = heard
        for name in ("Fail", "Missing"):
            try:
                method(channel, "unary_unary", name)(b"", timeout=20)
            except grpc.RpcError as error:
                why = dict(error.trailing_metadata()).get("why")
                found[name.lower()] = [error.code().name, error.details(), why]
        print(json.dumps(found))


def load(target):
    stop, failures, answered = threading.Event(), [], [0]
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()

    def chat(channel):
        # A conversation of ten words at a time, each of them answered.
        words = [b"%d" % n for n in range(10)]
        heard = list(method(channel, "stream_stream", "Chat")(iter(words), timeout=30))
        if heard != [b"echo " + word for word in words]:
            raise ValueError(f"heard {heard}")

    def client():
        with grpc.insecure_channel(target) as channel:
            call = method(channel, "unary_unary", "Unary")
            while not stop.is_set():
                try:
                    call(b"hello", timeout=30)
                    chat(channel)
                    answered[0] += 1
                except (grpc.RpcError, ValueError) as error:
                    failures.append(str(error)[:300])
                stop.wait(0.002)

    clients = [threading.Thread(target=client) for _ in range(3)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    print(json.dumps({"answered": answered[0], "failures": failures}))


{"serve": serve, "check": check, "load": load}[sys.argv[1]](sys.argv[2])
