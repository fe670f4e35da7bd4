"""The floor: the least that any daemon of this protocol does for a message, and nothing else.

Accept, read, decapsulate, derive, open, write, close, in a bare gevent handler.
No check, no log, no reply but a fixed line. Run as a process of its own:
the secret key comes on standard input, the port goes to standard output.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import hmac  # noqa: E402
import sys  # noqa: E402

from gevent.server import StreamServer  # noqa: E402
from nacl import bindings  # noqa: E402
from pqcrypto.kem import ml_kem_768  # noqa: E402

LINE = b'{"v":1,"status":0,"stage":"arm","reason":"ok","msg":"armed_for_ms=20000","ts_unix":1,"req_id":1}\n'
PREFACE = 13
REPLY = LINE


def main() -> None:
    keys = sys.stdin.buffer.read()
    secret, device_key = keys[:-32], keys[-32:]

    def serve(sock, address):  # type: ignore[no-untyped-def]
        data = sock.recv(4096)
        while len(data) < PREFACE + 2 or len(data) < PREFACE + 2 + int.from_bytes(data[13:15], "big"):
            data += sock.recv(4096)
        payload = data[PREFACE + 2 :]
        start = 3 + payload[2] + 2
        ciphertext, nonce = payload[start : start + 1088], payload[start + 1088 : start + 1112]
        extracted = hmac.digest(device_key, ml_kem_768.decaps(secret, ciphertext), "sha256")
        key = hmac.digest(extracted, b"NovaKey v3 AEAD key\x01", "sha256")
        bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            payload[start + 1112 :], payload[: start + 1088], nonce, key
        )
        sock.sendall(REPLY)
        sock.close()

    server = StreamServer(("127.0.0.1", 0), serve)
    server.start()
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
