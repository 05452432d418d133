"""Tasks of the label stories that answer otherwise than `waymark whoami`: label_task.py KIND PORT ..."""

import os, socket, ssl, sys, threading, time, urllib.parse

kind, port, rest = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
task = os.environ.get("MESOS_TASK_ID", "")


def head(connection):
    """What came up to the empty line after a request line, a PROXY header before it included."""
    data = b""
    while not (b"HTTP/1.1\r\n" in data and data.endswith(b"\r\n\r\n")):
        piece = connection.recv(65536)
        if not piece:
            return data
        data += piece
    return data


def answer(connection, status, headers, body):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)


def raw(connection):
    answer(connection, "200 OK", [], head(connection).hex().encode())


def location(connection):
    target = head(connection).split(b" ")[1].decode()
    place = urllib.parse.unquote(urllib.parse.urlsplit(target).query)
    answer(connection, "302 Found", [f"Location: {place}"], b"")


def tls(connection):
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*rest)
        names = []
        context.sni_callback = lambda _, name, __: names.append(name)
        with context.wrap_socket(connection, server_side=True) as secured:
            head(secured)
            answer(secured, "200 OK", [], f"{task} {names[0] if names else None}".encode())
    except (ssl.SSLError, OSError):
        pass  # The story shows what the balancer made of it.


def talk(connection):
    connection.sendall(task.encode() + b"\n")
    while piece := connection.recv(65536):
        connection.sendall(piece)


def listen(handle):
    server = socket.create_server(("", port), backlog=128)
    while True:
        connection, _ = server.accept()

        def serve(connection=connection):
            with connection:
                handle(connection)

        threading.Thread(target=serve, daemon=True).start()


if kind == "udp":
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("", port))
    while True:
        _, peer = server.recvfrom(65536)
        server.sendto(task.encode(), peer)
elif kind == "deaf":
    # The queue of connections is full, so that the next one is not even answered.
    server = socket.create_server(("", port), backlog=0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
    time.sleep(3600)
elif kind == "odd":
    # Of all tasks of the app the first one answers; others take no connections.
    try:
        os.mkdir(rest[0])
    except FileExistsError:
        time.sleep(3600)
    listen(raw)
else:
    listen({"raw": raw, "location": location, "tls": tls, "talk": talk}[kind])
