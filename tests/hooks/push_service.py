"""A push service on this machine (RFC 8030), and a browser that decrypts what it gets (RFC 8291, by http_ece).

    push_service.py FOLDER

FOLDER gets a certificate, `cert.pem`. The first line that is printed is the browser, as PushSubscription.toJSON()
returns it. After that, each line is a request. What the service answers depends on the end of the address: `/gone` 410,
`/busy` 429, `/elsewhere` a redirect to another port, where a second service prints what it gets, and `/silent` nothing (it is
not printed either).
"""

import base64
import datetime
import http.server
import json
import os
import ssl
import sys
import threading
import time

import http_ece
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


KEY = ec.generate_private_key(ec.SECP256R1())
POINT = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
SECRET = os.urandom(16)


def claims(authorization):
    """Returns what a request claims, and the key with which it is signed (RFC 8292). Fails if the signature is wrong."""
    scheme, fields = authorization.split(" ", 1)
    assert scheme == "vapid", scheme
    fields = dict(field.strip().split("=", 1) for field in fields.split(","))
    head, body, signature = fields["t"].split(".")
    assert json.loads(decode(head)) == {"typ": "JWT", "alg": "ES256"}
    raw = decode(signature)
    assert len(raw) == 64
    both = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), decode(fields["k"]))
    key.verify(both, f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
    return json.loads(decode(body)), fields["k"]


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        headers, path = self.headers, self.path
        if path.endswith("/silent"):
            threading.Event().wait()
        body = self.rfile.read(int(headers["Content-Length"]))
        assert headers["Content-Encoding"] == "aes128gcm" and headers["Urgency"] == "high", headers
        assert int(headers["TTL"]) > 0 and len(headers["Topic"]) <= 32, headers
        claimed, key = claims(headers["Authorization"])
        assert time.time() < claimed["exp"] <= time.time() + 24 * 3600, claimed
        text = http_ece.decrypt(body, private_key=KEY, auth_secret=SECRET, version="aes128gcm")
        got = {"path": path, "key": key, "aud": claimed["aud"], "sub": claimed["sub"], "text": json.loads(text)}
        print(json.dumps({**got, "port": self.server.server_port}, sort_keys=True), flush=True)
        status = {"gone": 410, "busy": 429, "elsewhere": 307}.get(path.rsplit("/", 1)[-1], 201)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if status == 307:
            self.send_header("Location", f"https://localhost:{OTHER.server_port}/redirected")
        self.end_headers()

    def log_message(self, *_):
        pass


def listen(context):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


folder = sys.argv[1]
cert, own = f"{folder}/cert.pem", f"{folder}/key.pem"


def certificate():
    """Writes a self-signed certificate. The server trusts it only because SSL_CERT_FILE names it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=2))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    with open(cert, "wb") as file:
        file.write(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    with open(own, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


certificate()
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(cert, own)
OTHER = listen(context)
service = listen(context)
browser = {
    "endpoint": f"https://localhost:{service.server_port}/push",
    "expirationTime": None,
    "keys": {"p256dh": encode(POINT), "auth": encode(SECRET)},
}
print(json.dumps(browser), flush=True)
sys.stdin.read()  # until the test ends
