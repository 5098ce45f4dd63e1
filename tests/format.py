"""Writes every kind of event that a device may issue, from docs/format.md alone: no code of Annals, nothing but
the standard library. `format.py URL USER PASSWORD FRIEND` links two devices of USER with the server at URL and ends
with 0 if what the document promises holds: what follows it is admitted and has a receipt, what breaks it is
refused by its code. FRIEND is the name of another account. Python 3.8 or newer.

It leaves `docs/note.txt` ("hellohello again"), `docs/link`, `docs/empty` and `again/many` in USER's home namespace.
"""

import hashlib
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

DOCUMENT = Path(__file__).parent.parent / "docs" / "format.md"
ROOT = (bytes(16), 0)
SMALL_CUT = [4096, 65536, 1048576]


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def u64(number):
    return number.to_bytes(8, "big")


# Canonical DAG-CBOR


def encode(value):
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", False: b"\xf4", True: b"\xf5"}[value]
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, (list, tuple)):
        return head(4, len(value)) + b"".join(map(encode, value))
    items = sorted(((key.encode(), encode(field)) for key, field in value.items()), key=lambda i: (len(i[0]), i[0]))
    return head(5, len(items)) + b"".join(head(3, len(key)) + key + field for key, field in items)


def head(major, number):
    if number < 24:
        return bytes([major << 5 | number])
    size = next(size for size in range(4) if number < 1 << (8 << size))
    return bytes([major << 5 | 24 + size]) + number.to_bytes(1 << size, "big")


def decode(data):
    value, end = item(data, 0)
    assert end == len(data) and encode(value) == data, "not canonical"
    return value


def item(data, at):
    major, number, at = data[at] >> 5, data[at] & 31, at + 1
    if major == 7:
        return {20: False, 21: True, 22: None}[number], at
    if number >= 24:
        size = {24: 1, 25: 2, 26: 4, 27: 8}[number]
        number, at = int.from_bytes(data[at : at + size], "big"), at + size
    if major < 2:
        return (number, -1 - number)[major], at
    if major < 4:
        text = data[at : at + number]
        return (text if major == 2 else text.decode()), at + number
    values = []
    for _ in range(number * {4: 1, 5: 2}[major]):
        value, at = item(data, at)
        values.append(value)
    return (values if major == 4 else dict(zip(values[::2], values[1::2]))), at


# ed25519 (RFC 8032). A point is (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def add(a, b):
    m, n = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * D * a[3] * b[3] % P, 2 * a[2] * b[2] % P
    e, f, g, h = n - m, d - c, d + c, n + m
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(number, point):
    total = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = add(total, point)
        point, number = add(point, point), number >> 1
    return total


def pack(point):
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def unpack(data):
    number = int.from_bytes(data, "little")
    y, odd = number & (1 << 255) - 1, number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - square) % P == 0 and y < P, "not a point"
    x = x if x & 1 == odd else P - x
    return x, y, 1, x * y % P


BASE = unpack((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def scalar(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ORDER


def secret_scalar(seed):
    digest = hashlib.sha512(seed).digest()
    return int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254, digest[32:]


def public_key(seed):
    return pack(times(secret_scalar(seed)[0], BASE))


def sign(seed, key, message):
    secret, prefix = secret_scalar(seed)
    nonce = scalar(prefix, message)
    point = pack(times(nonce, BASE))
    return point + ((nonce + scalar(point, key, message) * secret) % ORDER).to_bytes(32, "little")


def verify(key, message, signature):
    point, number = signature[:32], int.from_bytes(signature[32:], "little")
    x, y, z, t = unpack(key)
    back = times(scalar(point, key, message), (P - x, y, z, P - t))
    assert number < ORDER and pack(add(times(number, BASE), back)) == point, "a signature does not hold"


# What the document describes


def device_id(key):
    return sha256(b"annals device\0", key)[:16]


def dots(*members):
    """A set of dots as ranges."""
    by_device = {}
    for device, counter in sorted(members):
        ranges = by_device.setdefault(device, [])
        if ranges and ranges[-1] >= counter - 1:
            ranges[-1] = counter
        else:
            ranges += [counter, counter]
    return [[device, ranges] for device, ranges in by_device.items()]


def content(*chunks):
    """A content of these chunks, and all chunks to store for it."""
    listed = [[len(chunk), sha256(chunk)] for chunk in chunks]
    described = {
        "id": sha256(*(u64(length) + chunk for length, chunk in listed)),
        "size": sum(map(len, chunks)),
        "cut": SMALL_CUT,
    }
    if len(chunks) > 64:
        manifest = encode({"chunks": listed})
        described["manifest"] = [len(manifest), sha256(manifest)]
        chunks += (manifest,)
    elif chunks:
        described["chunks"] = listed
    return described, chunks


class Device:
    """A device linked to the home namespace of `user`."""

    def __init__(self, url, user, password, label):
        self.url, self.token = url, None
        self.seed = os.urandom(32)
        self.key = public_key(self.seed)
        self.id = device_id(self.key)
        asked = self.ask("POST", "challenges")
        challenge, log = bytes.fromhex(asked["challenge"]), bytes.fromhex(asked["server"]["log"])
        linked = self.ask("POST", "link", {
            "credential": {"password": {"user": user, "password": password}},
            "device": self.key.hex(),
            "challenge": challenge.hex(),
            "proof": sign(self.seed, self.key, b"annals link\0" + challenge + log + self.key).hex(),
            "label": label,
        })
        assert linked["device"] == self.id.hex()
        self.token, self.user = linked["token"], bytes.fromhex(linked["account"]["user"])
        self.namespace = bytes.fromhex(linked["namespace"]["id"])
        self.server = bytes.fromhex(linked["server"]["server"])
        self.keys = {self.id: self.key, device_id(self.server): self.server}
        self.seq, self.chain, self.epoch = 0, bytes(32), 0
        self.pulled, self.said = {}, {}
        self.counter, self.prev, self.hlc = 0, None, 0
        self.events, self.bodies = [], []
        self.pull()

    # Over HTTP

    def ask(self, method, route, body=None, kind="application/json"):
        headers = {"Content-Type": kind}
        if self.token:
            headers["Authorization"] = "Bearer " + self.token
        if kind == "application/json":
            body = json.dumps(body).encode() if body is not None else None
        elif kind == "application/cbor":
            body = encode(body)
        request = urllib.request.Request(f"{self.url}/v1/{route}", body, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                data, kind = answer.read(), answer.headers.get_content_type()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {route}: {error.read().decode()}") from error
        return decode(data) if kind == "application/cbor" else json.loads(data)

    def in_namespace(self, method, route, *body):
        return self.ask(method, f"namespaces/{self.namespace.hex()}/{route}", *body)

    def store(self, chunks):
        """Sends those of the chunks that the server lacks."""
        missing = self.missing(chunks=[[len(chunk), sha256(chunk)] for chunk in chunks])["chunks"]
        frames = b""
        for chunk in (chunks[place] for place in missing):
            size = len(chunk).to_bytes(4, "big")
            frames += sha256(chunk) + b"\0" + size + size + chunk
        stored = self.in_namespace("POST", "chunks", frames, "application/vnd.annals.chunks")
        assert stored["new"] == len(missing), stored

    def missing(self, chunks=(), manifests=()):
        question = {"chunks": chunks, "manifests": manifests, "adds": sum(length for length, _ in chunks)}
        return self.in_namespace("POST", "chunks/missing", question, "application/cbor")

    def pull(self):
        """Reads the log on from where it was read last, and checks all of it."""
        while True:
            cursor = f"records?after={self.seq}&chain={self.chain.hex()}&epoch={self.epoch}"
            answer = self.in_namespace("GET", cursor)
            for record in answer["records"]:
                self.read(record)
            if self.seq >= answer["head"]["seq"]:
                assert self.chain == answer["head"]["chain"]
                return

    def read(self, record):
        admission, signed, signature, bodies = self.opened(record)
        header = decode(signed)
        if header["first"] == 1 and header["events"][0]["kind"] == "namespace_created":
            assert header["events"][0]["structure"]["server"] == self.server
        verify(self.keys[header["device"]], b"annals batch\0" + signed, signature)
        numbers = u64(admission["epoch"]), u64(admission["seq"]), u64(admission["admitted_at"])
        self.chain = sha256(
            b"annals chain\0", self.chain, self.namespace, *numbers, admission["admitted_by"], admission["batch"]
        )
        assert self.chain == admission["chain"] and admission["seq"] == self.seq + 1
        self.seq, self.epoch = self.seq + len(header["events"]), admission["epoch"]
        for event, body in zip(header["events"], bodies):
            assert body is None or event["body"] == sha256(b"annals body\0", body)
            if event["kind"] == "device_linked":
                key = event["structure"]["key"]
                self.keys[device_id(key)] = key
            self.hlc = max(self.hlc, event["hlc"])
        if header["device"] != self.id:
            self.pulled[header["device"]] = header["first"] + len(header["events"]) - 1

    def opened(self, record):
        """A record's parts, when its receipt holds."""
        admission, receipt, batch = decode(record)
        verify(self.server, b"annals receipt\0" + admission, receipt)
        signed, signature, bodies = decode(batch)
        admission = decode(admission)
        assert admission["batch"] == sha256(b"annals batch\0", signed)
        assert admission["namespace"] == self.namespace and admission["admitted_by"] == device_id(self.server)
        return admission, signed, signature, bodies

    # Batches

    def event(self, kind, structure, **body):
        """Puts an event into the next batch, and returns its dot."""
        now = time.time_ns() // 1_000_000
        self.hlc = max(now << 16, self.hlc + 1)
        event = {"at": now, "hlc": self.hlc, "kind": kind, "structure": structure}
        if body:
            body = encode({"salt": os.urandom(16), **body})
            event["body"] = sha256(b"annals body\0", body)
        self.events.append(event)
        self.bodies.append(body or None)
        return self.id, self.counter + len(self.events)

    def batch(self, unseen=(), **other):
        """The batch of all events that were put into it."""
        header = {
            "format": 1,
            "namespace": self.namespace,
            "device": self.id,
            "first": self.counter + 1,
            "seen": [[d, n] for d, n in sorted(self.pulled.items()) if self.said.get(d) != n],
            "unseen": dots(*unseen),
            "events": self.events,
            **({"prev": self.prev} if self.prev else {}),
            **other,
        }
        signed = encode(header)
        return [signed, sign(self.seed, self.key, b"annals batch\0" + signed), self.bodies]

    def submit(self, batch):
        answer = self.in_namespace("POST", "batches", {"batches": [encode(batch)]}, "application/cbor")
        ((outcome, said),) = answer["outcomes"][0].items()
        return outcome, said

    def send(self, unseen=()):
        """The events become a batch, which is admitted."""
        batch = self.batch(unseen)
        outcome, said = self.submit(batch)
        assert outcome == "admitted", (said, [event["kind"] for event in self.events])
        assert self.opened(said["record"])[1:] == tuple(batch)
        again, same = self.submit(batch)
        assert (again, same) == ("already_admitted", said)
        self.prev, self.counter = sha256(b"annals batch\0", batch[0]), self.counter + len(self.events)
        self.said = dict(self.pulled)
        ISSUED.update(event["kind"] for event in self.events)
        self.events, self.bodies = [], []

    def refused(self, batch, code):
        outcome, said = self.submit(batch)
        assert outcome == "refused" and said["code"] == code, (code, outcome, said)


ISSUED = set()


def kinds_of_devices():
    """The kinds that the document lets a device issue."""
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\|[^|]*\| ([a-z, ]+) \|", DOCUMENT.read_text("utf-8"), re.MULTILINE)
    return {kind for kind, who in rows if not {"viewer", "editor", "owner"}.isdisjoint(who.split(", "))}


def main(url, user, password, friend):
    a = Device(url, user, password, "first")
    b = Device(url, user, password, "second")
    a.pull()

    # Folders, files, symlinks; contents of no chunk, of one, and of more than an event lists.
    one, one_chunks = content(b"hello")
    many, many_chunks = content(*(b"%04d" % number for number in range(70)))
    a.store(one_chunks + many_chunks)
    docs = a.event("entry_created", {"parent": ROOT, "entry_kind": "folder"}, name="docs")
    note = a.event("entry_created", {"parent": ROOT, "entry_kind": "file"},
                   name="nöte.txt", content=one, mtime=-1_500_000_000, executable=True)
    link = a.event("entry_created", {"parent": docs, "entry_kind": "symlink"}, name="link", target=b"note.txt")
    big = a.event("entry_created", {"parent": docs, "entry_kind": "file"}, name="big", content=many, mtime=0)
    a.event("entry_created", {"parent": docs, "entry_kind": "file"}, name="empty",
            content=content()[0], mtime=0)

    # What is wrong with a batch is said, and nothing of it is taken.
    signed, signature, bodies = a.batch()
    a.refused([signed, signature[:-1] + bytes([signature[-1] ^ 1]), bodies], "batch-signature")
    a.refused([signed + b"\0", signature, bodies], "batch-malformed")
    a.refused([signed, signature, [bodies[1], bodies[1], *bodies[2:]]], "batch-body")
    a.refused(a.batch(namespace=bytes(16)), "batch-namespace")
    b.refused([signed, signature, bodies], "batch-signature")
    assert a.missing(manifests=[[many["id"], many["manifest"]]])["manifests"] == [0]
    a.send()
    assert a.missing(manifests=[[many["id"], many["manifest"]]])["manifests"] == []
    a.counter += 3
    again = a.event("entry_created", {"parent": ROOT, "entry_kind": "folder"}, name="again")
    a.refused(a.batch(first=note[1]), "equivocation")
    a.refused(a.batch(prev=bytes(32)), "prev-mismatch")
    a.refused(a.batch(seen=[[b.id, 1]]), "seen-unknown")
    a.refused(a.batch(unseen=[(b.id, 1)]), "seen-unknown")
    a.send()
    for code, kind, structure, body in [
        ("chunks-missing", "version_uploaded", {"entry": note, "parents": dots(note)},
         {"content": content(b"never sent")[0]}),
        ("wrong-kind", "version_uploaded", {"entry": docs, "parents": []}, {"content": one}),
        ("named-unseen", "entry_moved", {"entry": (b.id, 1), "parent": docs}, {"name": "x"}),
        ("body-missing", "entry_moved", {"entry": note, "parent": docs}, {}),
        ("reserved-name", "entry_moved", {"entry": note, "parent": ROOT}, {"name": ".Annals"}),
        ("not-yet", "entry_purged", {"entries": dots(note)}, {}),
        ("server-only", "device_retired", {"device": b.id, "last": 0}, {}),
        ("kind-unknown", "entry_moved/2", {}, {}),
    ]:
        a.event(kind, structure, **body)
        a.refused(a.batch(), code)
        a.events, a.bodies = [], []

    # Changes.
    a.event("entry_moved", {"entry": note, "parent": docs}, name="note.txt")
    a.refused(a.batch(first=again[1] - 1), "counter-used")
    a.event("attributes_changed", {"entry": note}, mtime=1, executable=False,
            tags_added=["red", "blue"], tags_removed=["green"], note="to be read")
    a.event("attributes_changed", {"entry": docs}, note="")
    for policy in ["text", "chunks", "both", "newest"]:
        a.event("policy_set", {"policy": policy}, pattern="*." + policy)
    a.event("retention_set", {"versions": 1000, "silence": 2000})
    a.event("retention_set", {"versions": 7776000000})
    friend = bytes.fromhex(a.ask("GET", "users/" + friend)["user"])
    for role in ["viewer", "editor", "owner"]:
        a.event("member_granted", {"role": role, "user": friend}, user_name="friend")
    a.event("member_revoked", {"user": friend})
    a.send()

    # Two devices change one file, neither having seen the other; the one that pulls first decides.
    b.pull()
    two, two_chunks = content(b"hello", b"hello again")
    a.store(two_chunks)
    mine = a.event("version_uploaded", {"entry": note, "parents": dots(note)}, content=two, mtime=2_000_000_000)
    a.send()
    three, three_chunks = content(b"hello from the second")
    b.store(three_chunks)
    theirs = b.event("version_uploaded", {"entry": note, "parents": dots(note)}, content=three, executable=True)
    b.send()
    a.pull()
    a.event("attributes_changed", {"entry": note}, tags_removed=["red"])
    a.send(unseen=[theirs])
    a.event("conflict_resolved", {"entry": note, "over": dots(mine, theirs), "keep": dots(mine)})
    a.send()

    # Into the trash and back, to where it was and to elsewhere; then one is purged.
    gone = a.event("entry_created", {"parent": docs, "entry_kind": "symlink"}, name="gone", target=b"\xff not text")
    a.event("entry_deleted", {"entries": dots(gone), "hides": dots(gone)})
    deleted = a.event("entry_deleted", {"entries": dots(link), "hides": dots(link)})
    a.event("entry_restored", {"entry": link, "lifts": dots(deleted), "shows": dots(link)})
    deleted = a.event("entry_deleted", {"entries": dots(big), "hides": dots(big)})
    a.event("entry_restored", {"entry": big, "place": again, "lifts": dots(deleted), "shows": dots(big)}, name="many")
    a.send()
    for device in [b, a]:
        device.pull()
        device.event("acknowledged", {"seq": device.seq})
        device.send()
    a.pull()
    a.event("entry_purged", {"entries": dots(gone)})
    a.event("versions_expired", {"versions": dots(note)})
    a.send()

    # The whole log, as both devices read it.
    for device in [a, b]:
        device.pull()
    assert (b.seq, b.chain) == (a.seq, a.chain)
    assert ISSUED == kinds_of_devices(), ISSUED ^ kinds_of_devices()


if __name__ == "__main__":
    main(*sys.argv[1:])
