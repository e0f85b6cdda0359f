# README: copy this directory elsewhere, there run `pip install -r requirements.txt && python make.py VECTORS`, before make.mjs.
# Once that has run, `python make.py VECTORS check` has what it made accepted by the libraries for Python too.
"""Makes aws-sns, contentstack and django of VECTORS (`tests/webhooks/vectors`); make.mjs makes the others.

Keys and salts are drawn from a fixed seed, times and ids are fixed: it makes the same files again.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import sys
from datetime import UTC, datetime
from unittest import mock

import standardwebhooks
import stripe
import svix
from Crypto.Hash import SHA1, SHA256
from Crypto.PublicKey import RSA
from Crypto.Signature import pkcs1_15, pss
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "../vectors")
SECOND = 1_700_000_000
NOW = SECOND * 1000


class Drawn:
    """Octets that look random and are always the same."""

    def __init__(self, seed):
        self.seed, self.count = seed.encode(), 0

    def __call__(self, size):
        octets = b""
        while len(octets) < size:
            octets += hashlib.sha256(self.seed + self.count.to_bytes(8, "big")).digest()
            self.count += 1
        return octets[:size]


def vector(name, target, **rest):
    made = {
        "name": name, "method": "POST", "target": target, "headers": [], "body": "", "secrets": [], "now_ms": NOW + 2_000,
        "delivery": None, "event": "", "before": None, "after": None, "changed": None, "kind": None,
    }
    return made | rest


def write(preset, made_by, vectors, also=None):
    def text(value):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def one(vector):
        lines = []
        for key, value in vector.items():
            if key == "headers":
                fields = ",\n".join(f"        {text(field)}" for field in value)
                lines.append(f'      "headers": [\n{fields}\n      ]')
            else:
                lines.append(f"      {text(key)}: {text(value)}")
        return "    {\n" + ",\n".join(lines) + "\n    }"

    parts = [f'  "made_by": {text(made_by)}']
    for name, vectors in (("vectors", vectors), ("also", also)):
        if vectors:
            parts.append(f'  "{name}": [\n' + ",\n".join(map(one, vectors)) + "\n  ]")
    (OUT / f"{preset}.json").write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def aws_sns():
    key = RSA.generate(2048, randfunc=Drawn("a key for tests of SNS"))
    private = serialization.load_pem_private_key(key.export_key(), None)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .sign(private, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM).decode()
    topic = "arn:aws:sns:eu-central-1:123456789012:products"
    url = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"

    def make(name, message, version):
        message |= {"TopicArn": topic, "Timestamp": "2023-11-14T22:13:20.000Z", "SignatureVersion": version, "SigningCertURL": url}
        confirms = "Token" in message
        names = ["Message", "MessageId"]
        names += ["SubscribeURL", "Timestamp", "Token"] if confirms else ["Subject", "Timestamp"]
        names += ["TopicArn", "Type"]
        signed = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
        digest = (SHA1 if version == "1" else SHA256).new(signed.encode())
        message["Signature"] = base64.b64encode(pkcs1_15.new(key).sign(digest)).decode()
        headers = [
            ["x-amz-sns-message-type", message["Type"]],
            ["x-amz-sns-message-id", message["MessageId"]],
            ["x-amz-sns-topic-arn", topic],
            ["Content-Type", "text/plain; charset=UTF-8"],
            ["User-Agent", "Amazon Simple Notification Service Agent"],
        ]
        body = json.dumps(message, indent=2, ensure_ascii=False)
        return vector(
            name, "/hooks/sns", headers=headers, body=body, delivery=message["MessageId"], event=message["Type"],
            secrets=[pem],
        )

    inner = json.dumps({"type": "product.updated", "id": 7, "title": "Café crème ☕"}, ensure_ascii=False)
    unsubscribe = f"https://sns.eu-central-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn={topic}:c9135db0"
    confirm = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "Token": "2336412f37fb687f5d51e6e241d09c805a5a57b30d712f794cc5f6a988666d92",
        "Message": f"You have chosen to subscribe to the topic {topic}.\nTo confirm the subscription, visit the SubscribeURL included in this message.",
        "SubscribeURL": f"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={topic}&Token=2336412f37fb",
    }

    def notification(number, **rest):
        return {"Type": "Notification", "MessageId": f"22b80b92-fdea-4c2c-8f9d-bdfb0c7bf32{number}", "Message": inner, "UnsubscribeURL": unsubscribe} | rest

    write(
        "aws-sns",
        "signed by hand by a certificate of our own, accepted by sns-validator 0.3.5 (npm); UnsubscribeURL and MessageAttributes are not signed",
        [
            make("notification, SHA-256", notification(4), "2"),
            make("notification with a subject, SHA-1", notification(5, Subject="product.updated"), "1"),
            make("confirmation of a subscription, SHA-256", dict(confirm), "2"),
            make("confirmation of a subscription, SHA-1", confirm | {"MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1c"}, "1"),
        ],
    )


def contentstack():
    secret = "cs-hmac-0f3a9b7c2d1e4f5a6b7c8d9e0f1a2b3c"
    key = RSA.generate(2048, randfunc=Drawn("a key for tests of Contentstack"))
    entry = {"title": "Café crème ☕", "url": "/cafe-creme", "locale": "fr-fr", "uid": "bltd1e4f5a6b7c8d9e0", "_version": 2, "tags": []}
    kind = {"title": "Page", "uid": "page", "options": {"is_page": True, "singleton": False}}

    def body(event):
        data = {"entry": entry, "content_type": kind}
        if event == "publish":
            data |= {"environment": {"name": "production", "uid": "blt33"}, "action": "publish", "status": "success", "locale": "fr-fr"}
        told = {"module": "entry", "api_key": "blt1ca6e8665d0f3ad3", "data": data, "event": event, "triggered_at": "2023-11-14T22:13:20.000Z"}
        return json.dumps(told, ensure_ascii=False, separators=(",", ":"))

    def v1(secret, body):
        return "v1=" + hmac.new(secret.encode(), f"{SECOND}.{body}".encode(), hashlib.sha256).hexdigest()

    def make(name, event, kind, others=()):
        text = body(event)
        signatures = ",".join([f"t={SECOND}", *(v1(other, text) for other in others), v1(secret, text)])
        return vector(
            name, "/hooks/contentstack", headers=[["Content-Type", "application/json"], ["x-contentstack-hmac-signature", signatures]],
            body=text, secrets=[secret], event=f"entry.{event}", event_from="$.module + $.event", kind=kind,
        )

    def by_certificate(name, event, kind):
        text = body(event)
        signature = pss.new(key, salt_bytes=32, rand_func=Drawn(f"salt {event}")).sign(SHA256.new(text.encode()))
        return vector(
            name, "/hooks/contentstack",
            headers=[["Content-Type", "application/json"], ["X-Contentstack-Request-Signature", "v1=" + base64.b64encode(signature).decode()]],
            body=text, secrets=[key.public_key().export_key().decode()], event=f"entry.{event}", event_from="$.module + $.event", kind=kind,
            config=None, why="RSASSA-PSS (SHA-256, MGF1, salt of 32 octets) by a key of Contentstack's; secrets has the public key. What operators get unless they set HMAC",
            made_by="by hand after https://www.contentstack.com/docs/headless-cms/secure-your-webhooks, accepted by its example for Node",
        )

    write(
        "contentstack",
        "by hand after https://www.contentstack.com/docs/headless-cms/secure-your-webhooks (HMAC Signature): there is no SDK that verifies",
        [
            make("entry updated", "update", "update"),
            make("entry deleted", "delete", "delete"),
            make("entry published while the key is rotated, the second signature is right", "publish", None, ["cs-hmac-another"]),
        ],
        [by_certificate("entry updated, signed by a certificate", "update", "update"), by_certificate("entry deleted, signed by a certificate", "delete", "delete")],
    )


def django():
    secret = "whsec_" + base64.b64encode(b"a secret of thirty-two octets ok").decode()
    webhook = standardwebhooks.Webhook(secret)

    def make(name, delivery, event, **rest):
        # As an app does it: what is not ASCII is escaped.
        body = json.dumps(event)
        signature = webhook.sign(delivery, datetime.fromtimestamp(SECOND, UTC), body)
        headers = [["content-type", "application/json"], ["webhook-id", delivery], ["webhook-timestamp", str(SECOND)], ["webhook-signature", signature]]
        return vector(name, "/hooks/django", headers=headers, body=body, secrets=[secret], delivery=delivery, event=event["type"], **rest)

    before = {"id": 7, "slug": "cafe", "title": "Cafe", "author_id": 3}
    after = before | {"slug": "café-crème", "title": "Café crème ☕"}
    saved = {"model": "shop.article", "pk": 7, "before": before, "after": after, "update_fields": ["slug", "title"], "created": False}

    def event(what, before, after, changed):
        return {"type": f"article.{what}", "timestamp": 1700000000.25, "data": {"id": 7, "before": before, "after": after, "changed": changed}}

    write(
        "django",
        "standardwebhooks 1.1.0 (PyPI), Webhook.sign; the body is what the app of tests/django sends",
        [
            make("article updated", "msg_5f0d1c2b3a4958678796a5b4c3d2e1f0", event("updated", before, after, ["slug", "title"]), before=before, after=after, changed=["slug", "title"], kind="update"),
            make("article deleted", "msg_5f0d1c2b3a4958678796a5b4c3d2e1f1", event("deleted", after, None, list(after)), before=after, changed=list(after), kind="delete"),
            make("article created", "msg_5f0d1c2b3a4958678796a5b4c3d2e1f2", event("created", None, before, list(before)), after=before, changed=list(before), kind="create"),
            make("any model saved, by its update_fields", "msg_5f0d1c2b3a4958678796a5b4c3d2e1f3", {"type": "model.saved", "data": saved}, before=before, after=after, changed=["slug", "title"]),
        ],
    )


def check():
    """Has what was made accepted by the libraries for Python."""

    def fields(vector):
        return {name.lower(): value for name, value in vector["headers"]}

    def vectors(preset):
        return json.loads((OUT / f"{preset}.json").read_text(encoding="utf-8"))["vectors"]

    class Then(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(Then.moment, tz)

    for preset, library in (("standard-webhooks", standardwebhooks), ("django", standardwebhooks), ("debezium", standardwebhooks), ("cloudevents", standardwebhooks), ("svix", svix)):
        for vector in vectors(preset):
            Then.moment = vector["now_ms"] / 1000
            with mock.patch("standardwebhooks.webhooks.datetime", Then):
                library.Webhook(vector["secrets"][-1]).verify(vector["body"], fields(vector))
    for vector in vectors("stripe"):
        with mock.patch("time.time", lambda: vector["now_ms"] / 1000):
            assert stripe.WebhookSignature.verify_header(vector["body"], fields(vector)["stripe-signature"], vector["secrets"][0], 300)


if sys.argv[2:] == ["check"]:
    check()
else:
    aws_sns()
    contentstack()
    django()
