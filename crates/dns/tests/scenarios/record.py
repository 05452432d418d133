#!/usr/bin/env python3
"""Records in scenario files what Mesos-DNS says to them; README.md tells the format.

    ./record.py MESOS-DNS FILE...

MESOS-DNS is the program of Mesos-DNS. It is run once a file, in a network of its own, with a master
that knows the file's state and nothing else. Needs root, iproute2 and dnspython. Afterwards
`SCENARIOS=write cargo test -p waymark-dns --test scenarios` marks where Waymark differs.
"""

import http.server
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

MASTERS = [f"10.1.0.{n}" for n in range(1, 6)]
HOST = "10.1.0.53"
CONFIG = {
    "masters": ["10.1.0.1:5050"],
    "refreshSeconds": 3600,
    "listener": HOST,
    "httplistener": HOST,
    "resolvers": ["10.1.0.99"],
    "timeout": 1,
}
SECTIONS = ["answer", "authority", "additional"]
CLASSES = {"IN": 1, "CH": 3, "HS": 4, "NONE": 254, "ANY": 255}
FLAGS = {"aa": 0x400, "tc": 0x200, "rd": 0x100, "ra": 0x80, "ad": 0x20, "cd": 0x10}
# More answers than these are counted only.
MANY = 20
# How often a question is asked to see what is picked at random.
TIMES = 40


def query(name, rtype, options):
    """The bytes of a question."""
    flags = sum(FLAGS[flag] for flag in ("rd", "ad", "cd") if flag in options)
    flags |= int(options.get("opcode", 0)) << 11
    opt = b""
    if {"edns", "do", "version"} & options.keys():
        payload, version = int(options.get("edns", 1232)), int(options.get("version", 0))
        do = 0x8000 if "do" in options else 0
        opt = b"\0" + struct.pack("!HHBBHH", 41, payload, 0, version, do, 0)
    question = dns.name.from_text(name).to_wire()
    question += struct.pack("!HH", dns.rdatatype.from_text(rtype), CLASSES[options.get("class", "IN")])
    return struct.pack("!HHHHHH", 0x1234, flags, 1, 0, 0, 1 if opt else 0) + question + opt


def ask(packet, by_tcp):
    """The reply, or None."""
    kind = socket.SOCK_STREAM if by_tcp else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as client:
        client.settimeout(1.5)
        client.connect((HOST, 53))
        client.sendall(struct.pack("!H", len(packet)) + packet if by_tcp else packet)
        try:
            if not by_tcp:
                return client.recv(65535)
            stream = client.makefile("rb")
            return stream.read(struct.unpack("!H", stream.read(2))[0])
        except (TimeoutError, struct.error):
            return None


def name_text(name):
    text = name.to_text(omit_final_dot=True)
    return "." if text in ("", "@") else text


def data_text(data):
    if data.rdtype == dns.rdatatype.SRV:
        return f"{data.priority} {data.weight} {data.port} {name_text(data.target)}"
    if data.rdtype in (dns.rdatatype.NS, dns.rdatatype.PTR):
        return name_text(data.target)
    if data.rdtype == dns.rdatatype.SOA:
        names = f"{name_text(data.mname)} {name_text(data.rname)}"
        return f"{names} SERIAL {data.refresh} {data.retry} {data.expire} {data.minimum}"
    return data.to_text()


def describe(packet, reply, asked):
    """What a reply says, a line each."""
    if reply is None:
        return ["no reply"]
    try:
        message = dns.message.from_wire(reply, ignore_trailing=True)
    except dns.exception.DNSException as error:
        return [f"unparsable {type(error).__name__} {reply[:12].hex()}"]
    status = [dns.rcode.to_text(message.rcode())]
    status += [flag for flag, bit in FLAGS.items() if message.flags & bit]
    opcode = message.flags >> 11 & 15
    status += [f"opcode={opcode}"] if opcode else []
    lines = [" ".join(status)]
    if reply[4:6] == b"\0\0":
        lines.append("no question")
    elif not packet[12:].startswith(message.question[0].name.to_wire()):
        lines.append("question differs")
    for name, section in zip(SECTIONS, (message.answer, message.authority, message.additional)):
        for rrset in section:
            owner, rtype = name_text(rrset.name), dns.rdatatype.to_text(rrset.rdtype)
            if rtype == "SOA" and owner == asked:
                lines.append(f"{name} soa")
                continue
            lines += [f"{name} {owner} {rrset.ttl} {rtype} {data_text(data)}" for data in rrset]
    if message.edns >= 0:
        lines.append(f"edns {message.payload}")
    return lines


def answers(lines):
    return sum(line.startswith("answer ") for line in lines)


def place(line):
    """Sorts a reply's lines: status, sections, the rest."""
    word = line.split()[0]
    return (SECTIONS.index(word) + 1 if word in SECTIONS else 0, line)


def said(words):
    """What Mesos-DNS says to a heading."""
    options = dict(word.partition("=")[::2] for word in words[3 if words[0] == "ask" else 1 :])
    if words[0] == "ask":
        packet = query(words[1], words[2], options)
    else:
        packet = bytes.fromhex("".join(words[1:]))
    asked = words[1] if words[0] == "ask" and "full" not in options else None
    times = TIMES if words[0] == "ask" else 1
    seen = [describe(packet, ask(packet, "tcp" in options), asked) for _ in range(times)]
    first = seen[0]
    counts = sorted({answers(lines) for lines in seen})
    counted = "answers " + "-".join(map(str, counts))
    if "counted" in options:
        return [first[0], counted]
    if counts[-1] > MANY or ("tc" in first[0].split() and counts[-1]):
        return [first[0], counted] + [line for line in first[1:] if not line.startswith("answer ")]
    always = [line for line in first if all(line in lines for lines in seen)]
    varied = {line for lines in seen for line in lines} - set(always)
    rest = sorted(always[1:], key=place) + [f"one of {line}" for line in sorted(varied, key=place)]
    return always[:1] + rest


def records():
    """All records, by the HTTP API."""
    with urllib.request.urlopen(f"http://{HOST}:8123/v1/axfr") as reply:
        listed = json.load(reply)["Records"]
    lines = []
    for key, rtype in (("As", "A"), ("AAAAs", "AAAA")):
        for owner, values in listed[key].items():
            lines += [f"{owner.rstrip('.')} {rtype} {value}" for value in values]
    for owner, values in listed["SRVs"].items():
        for value in values:
            target, _, port = value.rpartition(":")
            lines.append(f"{owner.rstrip('.')} SRV {port} {target.rstrip('.')}")
    return sorted(lines)


class Master(http.server.BaseHTTPRequestHandler):
    state = b""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(Master.state)))
        self.end_headers()
        self.wfile.write(Master.state)

    def log_message(self, *_):
        pass


def wait_until_it_serves(process):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return urllib.request.urlopen(f"http://{HOST}:8123/v1/version", timeout=2).close()
        except OSError:
            time.sleep(0.02)
    sys.exit("Mesos-DNS does not serve this state")


def record(program, path):
    with open(path) as file:
        blocks = [block.split("\n") for block in file.read().rstrip("\n").split("\n\n")]
    given = {block[0]: "\n".join(block[1:]) for block in blocks}
    Master.state = given["state"].encode()
    with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
        json.dump({**CONFIG, **json.loads(given.get("config", "{}"))}, config)
        config.flush()
        process = subprocess.Popen([program, "-config", config.name], stderr=subprocess.DEVNULL)
        try:
            wait_until_it_serves(process)
            for block in blocks:
                words = block[0].split()
                if words[0] in ("ask", "send", "records"):
                    lines = records() if words[0] == "records" else said(words)
                    kept = [line for line in block[1:] if line.startswith(("#", "+"))]
                    reasons = [line for line in kept if line.startswith("#")]
                    ours = [line for line in kept if line.startswith("+")]
                    block[1:] = reasons + [f"  {line}" for line in lines] + ours
        finally:
            process.kill()
            process.wait()
    with open(path, "w") as file:
        file.write("\n\n".join("\n".join(block) for block in blocks) + "\n")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    if os.environ.get("IN_NETWORK") is None:
        environment = {**os.environ, "IN_NETWORK": "yes"}
        os.execvpe("unshare", ["unshare", "--net", sys.executable] + sys.argv, environment)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in MASTERS + [HOST]:
        subprocess.run(["ip", "address", "add", f"{address}/24", "dev", "lo"], check=True)
    server = http.server.ThreadingHTTPServer(("", 5050), Master)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for path in sys.argv[2:]:
        record(sys.argv[1], path)


main()
