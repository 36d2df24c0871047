"""Verify an export of MindWeave's audit log (JSON lines): python verify_audit.py export.jsonl [keys.json]

Needs Python 3 and `cryptography`. The keys are taken from the export, or better from a copy of /audit/keys of your own.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def canonical(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def fail(position, why):
    sys.stdout.write(f"BROKEN at position {position}: {why}\n")
    sys.exit(1)


def values(body):
    """What the readable part of a line says, in the names of the sealed values."""
    actor, target = body["actor"], body["target"]
    return {"actor_label": actor["label"], "ip": actor["ip"], "user_agent": actor["user_agent"],
            "target_label": target["label"], "changes": body["changes"], "reason": body["reason"]}  # fmt: skip


def check_entry(body):
    proof, position = body["proof"], body["proof"]["position"]
    entry, said = proof["entry"], values(body)
    if hashlib.sha256(b"mindweave.audit.entry.v1\n" + canonical(entry)).hexdigest() != proof["digest"]:
        fail(position, "the entry does not match its digest")
    if any(body[name] != entry[name] for name in ("id", "occurred_at", "action", "org_id", "correlation_id")):
        fail(position, "what is to be read is not what was sealed")
    for box, opened in zip(entry["sealed"], proof["opened"], strict=True):
        if opened is None:
            continue  # erased: its digest still stands in the entry
        salt, text = opened
        if hashlib.sha256(base64.b64decode(salt) + text.encode()).hexdigest() != box:
            fail(position, "a sealed value does not match its digest")
        for name, value in json.loads(text).items():
            whole = said[name] == value if name != "changes" else value.items() <= said[name].items()
            if not whole:
                fail(position, f"{name} is not what was sealed")


def main(path, keys=None):
    lines = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").split("\n") if line.strip()]
    known = {key["kid"]: key for key in (json.loads(Path(keys).read_text()) if keys else lines[0])["keys"]}
    entries = sorted((line for line in lines if line["type"] == "entry" and line["proof"]["position"]),
                     key=lambda line: line["proof"]["position"])  # fmt: skip
    chain, start = {}, b"mindweave.audit.chain.v1\n" + lines[0]["chain"].encode()
    previous, last = hashlib.sha256(start).digest(), 0
    for body in entries:
        proof = body["proof"]
        check_entry(body)
        if proof["position"] == last + 1:
            if hashlib.sha256(previous + bytes.fromhex(proof["digest"])).hexdigest() != proof["chain"]:
                fail(proof["position"], "the chain does not go on")
        elif last and not lines[0]["filter"]:
            fail(last + 1, "entries are missing")
        previous, last = bytes.fromhex(proof["chain"]), proof["position"]
        chain[last] = proof["chain"]
    for mark in (line for line in lines if line["type"] == "checkpoint"):
        said = {name: mark[name] for name in ("kind", "chain", "position", "digest", "at")}
        x = known[mark["key"]]["x"]
        public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(x + "=" * (-len(x) % 4)))
        try:
            public.verify(base64.b64decode(mark["signature"]), b"mindweave.audit.v1\n" + canonical(said))
        except Exception:
            fail(mark["position"], "the signature of a checkpoint is not by this key")
        if chain.get(mark["position"], mark["digest"]) != mark["digest"]:
            fail(mark["position"], "the chain is not what was signed")
    first = entries[0]["proof"]["position"] if entries else 0
    sys.stdout.write(f"whole: {len(entries)} entries, positions {first} to {last}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
