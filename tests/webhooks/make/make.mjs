// README: copy this directory elsewhere, there run `npm install --ignore-scripts && node make.mjs VECTORS`, after make.py.
//
// Makes the deliveries in VECTORS (`tests/webhooks/vectors`) whose senders have a library for Node, or none at all; make.py makes
// aws-sns, contentstack and django. Whatever signs here is the sender's own library where there is one; else it is signed by hand,
// as the sender documents it. Times, ids and secrets are fixed: it makes the same files again.
//
// `also` in a file has deliveries that its preset does not mean as it is: `config` says what to set beside the preset.

import assert from "node:assert/strict";
import crypto from "node:crypto";
import { EventEmitter } from "node:events";
import fs from "node:fs";
import https from "node:https";
import { createRequire } from "node:module";
import path from "node:path";

import "@shopify/shopify-api/adapters/node";
import { shopifyApi } from "@shopify/shopify-api";
import * as octokit from "@octokit/webhooks-methods";
import * as sanity from "@sanity/webhook";
import { CloudEvent, HTTP } from "cloudevents";
import { Webhook as StandardWebhook } from "standardwebhooks";
import Stripe from "stripe";
import { Webhook as SvixWebhook } from "svix";

const require = createRequire(import.meta.url);
const contentful = require("@contentful/node-apps-toolkit");
const hygraph = require("@hygraph/utils");
const kontent = require("@kontent-ai/webhook-helper").signatureHelper;
const SnsValidator = require("sns-validator");
const { WebflowClient } = require("webflow-api");

const OUT = process.argv[2] ?? "../vectors";
const SECOND = 1_700_000_000;
const NOW = SECOND * 1000;
Date.now = () => NOW;
const json = ["Content-Type", "application/json"];

const hmac = (algorithm, key, text, encoding) => crypto.createHmac(algorithm, key).update(text).digest(encoding);

/** As PHP's json_encode writes it. */
const php = (value) =>
  JSON.stringify(value)
    .replaceAll("/", "\\/")
    .replace(/[^\x00-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** A delivery; what is not given is what most have. */
const vector = (name, target, rest) => ({
  name,
  method: "POST",
  target,
  headers: [],
  body: "",
  secrets: [],
  now_ms: NOW + 2_000,
  delivery: null,
  event: "",
  before: null,
  after: null,
  changed: null,
  kind: null,
  ...rest,
});

function write(preset, made_by, vectors, also) {
  const one = ({ headers, ...rest }) => {
    const lines = Object.entries(rest).map(([key, value]) => `      ${JSON.stringify(key)}: ${JSON.stringify(value)}`);
    const fields = headers.map((field) => `        ${JSON.stringify(field)}`).join(",\n");
    lines.splice(Object.keys(rest).indexOf("target") + 1, 0, `      "headers": [\n${fields}\n      ]`);
    return `    {\n${lines.join(",\n")}\n    }`;
  };
  const list = (name, items) => `  "${name}": [\n${items.map(one).join(",\n")}\n  ]`;
  const parts = [`  "made_by": ${JSON.stringify(made_by)}`, list("vectors", vectors)];
  if (also) parts.push(list("also", also));
  const text = `{\n${parts.join(",\n")}\n}\n`;
  JSON.parse(text);
  fs.writeFileSync(path.join(OUT, `${preset}.json`), text);
}

// Standard Webhooks

const secret = (text) => `whsec_${Buffer.from(text).toString("base64")}`;
const SECRET = secret("a secret of thirty-two octets ok");
const OLD_SECRET = secret("the secret before, 32 octets too");

/** The three fields by the library, of one secret or of several. */
function standard(id, body, secrets = [SECRET], { names = "webhook", at = SECOND, Webhook = StandardWebhook, plain } = {}) {
  const signatures = secrets.map((secret) => new Webhook(secret, plain).sign(id, new Date(at * 1000), body));
  return [
    [`${names}-id`, id],
    [`${names}-timestamp`, String(at)],
    [`${names}-signature`, signatures.join(" ")],
    json,
  ];
}

function accepts(Webhook, vector) {
  for (const secret of vector.secrets.filter((secret) => secret !== OLD_SECRET)) {
    new Webhook(secret).verify(vector.body, Object.fromEntries(vector.headers));
  }
  return vector;
}

/** RFC 8032: a private key is its seed. */
const ed25519 = crypto.createPrivateKey({
  key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.from("a seed of exactly 32 octets here")]),
  format: "der",
  type: "pkcs8",
});
const public_key = crypto.createPublicKey(ed25519).export({ format: "der", type: "spki" }).subarray(-32).toString("base64");
const asymmetric = (id, body) => `v1a,${crypto.sign(null, `${id}.${SECOND}.${body}`, ed25519).toString("base64")}`;

{
  const target = "/hooks/app";
  const before = { id: 7, slug: "blue-shirt", title: "Blue shirt", price: "19.90" };
  const after = { ...before, slug: "blaues-hemd-é", title: "Blaues Hemd 👕" };
  const updated = { type: "product.updated", timestamp: "2023-11-14T22:13:20Z", data: { id: 7, slug: "blue-shirt" } };
  const told = { ...updated, data: { id: 7, before, after, changed: ["slug", "title"] } };
  const removed = { type: "product.deleted", timestamp: "2023-11-14T22:13:21Z", data: { id: 7, slug: "blue-shirt", before } };
  const rest = (id, body, event, kind) => ({ body, secrets: [SECRET], delivery: id, event, kind });
  const make = (name, id, event, kind, more = {}, secrets, options) => {
    const body = JSON.stringify(event);
    return vector(name, target, { ...rest(id, body, event.type, kind), headers: standard(id, body, secrets, options), ...more });
  };
  const several = make("several signatures, the second of which is right", "msg_3", updated, "update", {}, [OLD_SECRET, SECRET]);
  const mixed = make("a signature by a private key stands first", "msg_4", updated, "update");
  mixed.headers[2][1] = `${asymmetric("msg_4", mixed.body)} ${mixed.headers[2][1]}`;
  const by_private_key = make("signed by a private key", "msg_8", updated, "update", {
    secrets: [`whpk_${public_key}`],
    config: { verify: { scheme: "ed25519", prefix: "v1a," } },
    made_by: "by hand after https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: the library has no v1a",
  });
  by_private_key.headers[2][1] = asymmetric("msg_8", by_private_key.body);
  const bare = SECRET.slice("whsec_".length);
  write(
    "standard-webhooks",
    "standardwebhooks 1.1.1 (npm), Webhook.sign; accepted by it and by standardwebhooks 1.1.0 (PyPI)",
    [
      make("product updated", "msg_1", updated, "update"),
      make("product updated, with both records", "msg_2", told, "update", { before, after, changed: ["slug", "title"] }),
      several,
      mixed,
      make("product deleted", "msg_5", removed, "delete", { before }),
      make("signed four minutes ago", "msg_6", updated, "update", { now_ms: NOW + 240_000 }),
      make("signed by a clock that is ahead, with the newer of two secrets", "msg_7", updated, "update", {
        now_ms: NOW - 100_000,
        secrets: [OLD_SECRET, SECRET],
      }),
    ].map((vector) => accepts(StandardWebhook, vector)),
    [
      by_private_key,
      make("the secret is pasted without whsec_, as every library allows", "msg_9", updated, "update", {
        secrets: [bare],
        config: { verify: { key: "base64" } },
        made_by: "standardwebhooks 1.1.1 (npm), Webhook.sign",
      }, [bare]),
    ],
  );
}

// Svix

{
  const target = "/hooks/svix";
  const make = (name, id, event, kind, secrets = [SECRET], more = {}) => {
    const body = JSON.stringify(event);
    const headers = standard(id, body, secrets, { names: "svix", Webhook: SvixWebhook });
    const made = vector(name, target, { headers, body, secrets: [SECRET], delivery: id, event: event.type, kind, ...more });
    return accepts(SvixWebhook, made);
  };
  const user = { id: "user_29w83sxmDNGwOuEthce5gg56FcC", object: "user", first_name: "Renée", username: "renée", updated_at: NOW };
  const example = vector("the example of the documentation", target, {
    headers: [
      ["svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"],
      ["svix-timestamp", "1614265330"],
      ["svix-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="],
      json,
    ],
    body: '{"test": 2432232314}',
    secrets: ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    now_ms: 1_614_265_331_000,
    delivery: "msg_p5jXN8AQM9LWM0D4loKWxJek",
    made_by: "documented example: https://docs.svix.com/receiving/verifying-payloads/how-manual",
  });
  assert.equal(
    new SvixWebhook(example.secrets[0]).sign(example.delivery, new Date(1_614_265_330_000), example.body),
    example.headers[2][1],
  );
  write("svix", "svix 1.99.1 (npm), Webhook.sign; accepted by it and by svix 2.9.1 (PyPI)", [
    example,
    make("user updated", "msg_2LJjrNYpNNqYrXYPgyGjiNjZs1m", { data: user, object: "event", type: "user.updated" }, "update"),
    make("user deleted", "msg_2LJjrNYpNNqYrXYPgyGjiNjZs1n", { data: { deleted: true, id: user.id, object: "user" }, object: "event", type: "user.deleted" }, "delete"),
    make("several signatures, the second of which is right", "msg_2LJjrNYpNNqYrXYPgyGjiNjZs1o", { data: user, object: "event", type: "user.updated" }, "update", [OLD_SECRET, SECRET]),
  ]);
}

// GitHub

{
  const secret = "It's a Secret to Everybody";
  // The example of https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
  assert.equal(
    await octokit.sign(secret, "Hello, World!"),
    "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
  );
  const make = async (name, event, id, body, more) => {
    const signature = await octokit.sign(secret, body);
    assert(await octokit.verify(secret, body, signature));
    const headers = [
      ["Content-Type", "application/json"],
      ["User-Agent", "GitHub-Hookshot/044aadd"],
      ["X-GitHub-Delivery", id],
      ["X-GitHub-Event", event],
      ["X-GitHub-Hook-ID", "292430182"],
      ["X-GitHub-Hook-Installation-Target-ID", "79929171"],
      ["X-GitHub-Hook-Installation-Target-Type", "repository"],
      ["X-Hub-Signature", `sha1=${hmac("sha1", secret, body, "hex")}`],
      ["X-Hub-Signature-256", signature],
    ];
    return vector(name, "/hooks/github", { headers, body, secrets: [secret], delivery: id, ...more });
  };
  const repository = { id: 186853002, name: "Hello-World", full_name: "Codertocat/Hello-World", default_branch: "main" };
  const sender = { login: "Codertocat", id: 21031067 };
  const release = { id: 17372790, tag_name: "v1.2.0", name: "Größer 🎉", draft: false, prerelease: false };
  const push = {
    ref: "refs/heads/main",
    before: "6113728f27ae82c7b1a177c8d03f9e96e0adf246",
    after: "59b20b8d5c6ff8d09518454d4dd8b7b30f095ab5",
    created: false,
    deleted: false,
    forced: false,
    repository,
    pusher: { name: "Codertocat" },
    sender,
    commits: [
      {
        id: "59b20b8d5c6ff8d09518454d4dd8b7b30f095ab5",
        message: "Café menu ☕",
        added: ["content/menu/café.md"],
        removed: [],
        modified: ["content/index.md"],
      },
    ],
  };
  const edited = { action: "edited", changes: { name: { from: "Bigger" } }, release, repository, sender };
  write(
    "github",
    "@octokit/webhooks-methods 6.0.0 (npm), sign and verify",
    [
      await make("push", "push", "72d3162e-cc78-11e3-81ab-4c9367dc0958", JSON.stringify(push), { event: "push" }),
      await make("release edited", "release", "72d3162e-cc78-11e3-81ab-4c9367dc0959", JSON.stringify(edited), {
        event: "release.edited",
        event_from: "header.x-github-event + $.action, if there is one",
        changed: ["name"],
        kind: "update",
      }),
      await make("release deleted", "release", "72d3162e-cc78-11e3-81ab-4c9367dc0960", JSON.stringify({ action: "deleted", release, repository, sender }), {
        event: "release.deleted",
        event_from: "header.x-github-event + $.action, if there is one",
        kind: "delete",
      }),
    ],
    [
      await make("the hook is set to send a form, as it is unless told otherwise", "push", "72d3162e-cc78-11e3-81ab-4c9367dc0961", `payload=${encodeURIComponent(JSON.stringify({ ref: push.ref, repository }))}`, {
        event: "push",
        config: null,
        why: "Content-Type is application/x-www-form-urlencoded; what is signed is still the body as it came",
        made_by: "@octokit/webhooks-methods 6.0.0 (npm), sign and verify",
      }).then((vector) => {
        vector.headers[0][1] = "application/x-www-form-urlencoded";
        return vector;
      }),
    ],
  );
}

// Stripe

{
  const stripe = new Stripe("sk_test_none");
  const secret = "whsec_7fKq2mXwRt9sYbN4cVd8pLh1gJz5uAeT";
  const old_secret = "whsec_0000000000000000000000000000000a";
  const signed = (body, secret) => stripe.webhooks.generateTestHeaderString({ payload: body, secret, timestamp: SECOND });
  const make = (name, event, more, signature) => {
    const body = JSON.stringify(event, null, 2);
    const headers = [
      ["Stripe-Signature", signature ? signature(body) : signed(body, secret)],
      ["Content-Type", "application/json; charset=utf-8"],
      ["User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)"],
    ];
    stripe.webhooks.constructEvent(body, headers[0][1], secret, 300, undefined, NOW);
    return vector(name, "/hooks/stripe", { headers, body, secrets: [secret], delivery: event.id, event: event.type, ...more });
  };
  const product = { id: "prod_NWjs8kKbJWmuuc", object: "product", active: true, name: "Crème brûlée 🍮", metadata: { slug: "creme-brulee" }, updated: SECOND };
  const previous_attributes = { name: "Creme brulee", updated: SECOND - 60 };
  const event = (id, type, data) => ({ id, object: "event", api_version: "2025-09-30.clover", created: SECOND, data, livemode: false, pending_webhooks: 1, type });
  const updated = event("evt_1NG8Du2eZvKYlo2CUI79vXWy", "product.updated", { object: product, previous_attributes });
  const more = { after: product, changed: ["name", "updated"], kind: "update" };
  const second = { ...updated, id: "evt_1NG8Du2eZvKYlo2CUI79vXWz" };
  const price = { id: "price_1MoBy5LkdIwHu7ixZhnattbh", object: "price", product: product.id, unit_amount: 2000 };
  write("stripe", "stripe 23.1.0 (npm), webhooks.generateTestHeaderString and constructEvent; accepted by stripe 16.1.0 (PyPI) too", [
    make("product updated", updated, more),
    make("two secrets while one is rolled, the second signature is right", second, more, (body) => {
      const [, v1] = signed(body, secret).split(",");
      return `${signed(body, old_secret)},${v1},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39`;
    }),
    make("product deleted", event("evt_1NG8Du2eZvKYlo2CUI79vXX0", "product.deleted", { object: product }), { kind: "delete" }),
    make("price created", event("evt_1NG8Du2eZvKYlo2CUI79vXX1", "price.created", { object: price }), { after: price, kind: "create" }),
  ]);
}

// Shopify

{
  const secret = "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";
  const shopify = shopifyApi({
    apiKey: "key",
    apiSecretKey: secret,
    apiVersion: "2025-07",
    hostName: "shop.example",
    isEmbeddedApp: false,
    logger: { log: () => {} },
  });
  const make = async (name, topic, id, body, more, prefix = "X-Shopify") => {
    const headers = [
      [`${prefix}-Topic`, topic],
      [`${prefix}-Hmac-Sha256`, hmac("sha256", secret, body, "base64")],
      [`${prefix}-Shop-Domain`, "kaffee-roesterei.myshopify.com"],
      [`${prefix}-API-Version`, "2025-07"],
      [`${prefix}-Webhook-Id`, id],
      [`${prefix}-Event-Id`, "98880550-7158-44d4-b7cd-2c97c8a091b5"],
      [`${prefix}-Triggered-At`, "2023-11-14T22:13:20.123456789Z"],
      json,
    ];
    const rawRequest = { method: "POST", url: "/hooks/shopify", headers: Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value])) };
    assert((await shopify.webhooks.validate({ rawBody: body, rawRequest })).valid, name);
    return vector(name, "/hooks/shopify", { headers, body, secrets: [secret], delivery: id, event: topic, ...more });
  };
  // Ids are beyond what a double can hold: this is text, not made of an object.
  const product =
    '{"admin_graphql_api_id":"gid:\\/\\/shopify\\/Product\\/788032119674292922","body_html":"\\u003cp\\u003eAn example\\u003c\\/p\\u003e",' +
    '"created_at":null,"handle":"kaffee-espresso","id":788032119674292922,"product_type":"Coffee","published_at":"2023-11-14T17:13:20-05:00",' +
    '"title":"Café Espresso ☕ 500 g","vendor":"Rösterei","status":"active","variants":[{"id":642667041472713922,"product_id":788032119674292922,"sku":null,"price":"19.99"}]}';
  write(
    "shopify",
    "signed by hand, accepted by @shopify/shopify-api 13.1.0 (npm), webhooks.validate",
    [
      await make("product updated", "products/update", "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043", product, { kind: "update" }),
      await make("product deleted", "products/delete", "b54557e4-bdd9-4b37-8a5f-bf7d70bcd044", '{"id":788032119674292922}', { kind: "delete" }),
      await make("product created", "products/create", "b54557e4-bdd9-4b37-8a5f-bf7d70bcd045", product, { kind: "create" }),
    ],
    [
      await make("by the new kind of subscription, whose fields have no X-", "products/update", "b54557e4-bdd9-4b37-8a5f-bf7d70bcd046", product, {
        kind: "update",
        config: { verify: { from: "header.shopify-hmac-sha256" }, delivery: "header.shopify-webhook-id", event: { name: "header.shopify-topic" } },
        made_by: "signed by hand, accepted by @shopify/shopify-api 13.1.0 (npm), webhooks.validate",
      }, "Shopify"),
    ],
  );
}

// Contentful

{
  const secret = "qlfkupAwYA4ZkNnmBzmNypFqSRWOwhpGRFwQFn5iPNAGHSYdvwed1C77n0Eiaz19";
  const type = "application/vnd.contentful.management.v1+json";
  const make = (name, target, topic, key, event, more, fields = []) => {
    const body = JSON.stringify(event, null, 2);
    const signed_fields = [["X-Contentful-Topic", topic], ["X-Contentful-Webhook-Name", "Cache"], ["Content-Type", type], ...fields];
    const request = { method: "POST", path: target, headers: Object.fromEntries(signed_fields), body };
    const proof = contentful.signRequest(secret, request, NOW);
    const headers = [...signed_fields, ["X-Contentful-Idempotency-Key", key], ...Object.entries(proof)];
    assert(contentful.verifyRequest(secret, { ...request, headers: Object.fromEntries(headers) }, 30), name);
    // The key is not signed, and so nobody's to rely on.
    return vector(name, target, { headers, body, secrets: [secret], event: topic, ...more });
  };
  const link = (linkType, id) => ({ sys: { type: "Link", linkType, id } });
  const sys = (type) => ({
    type,
    id: "6x4EwAiFXcW2e4QMGGSKsy",
    space: link("Space", "yadj1kx9rmg0"),
    environment: link("Environment", "master"),
    contentType: link("ContentType", "article"),
    revision: 4,
    createdAt: "2023-11-14T22:00:00.000Z",
    updatedAt: "2023-11-14T22:13:20.000Z",
  });
  const entry = { sys: sys("Entry"), fields: { title: { "en-US": "Café crème ☕" }, slug: { "en-US": "cafe-creme" } } };
  const deleted = { sys: { ...sys("DeletedEntry"), deletedAt: "2023-11-14T22:13:20.000Z" } };
  const publish = "ContentManagement.Entry.publish";
  const key = (digit) => "0123456789abcdef".repeat(4).replace(/^./, digit);
  write("contentful", "@contentful/node-apps-toolkit 3.16.1 (npm), signRequest and verifyRequest", [
    make("entry published", "/hooks/contentful", publish, key("1"), entry, {}),
    make("entry deleted", "/hooks/contentful", "ContentManagement.Entry.delete", key("2"), deleted, { kind: "delete" }),
    make("the address has a query", "/hooks/contentful?site=fr&from=a%20b", publish, key("3"), entry, {}),
    make("the address has letters that are encoded", "/hooks/caf%C3%A9(1)/contentful", publish, key("4"), entry, {}),
    make("one field's name begins another's", "/hooks/contentful", publish, key("5"), entry, {}, [["X-Site", "fr"], ["X-Site-Name", "Boutique; ete"]]),
  ]);
}

// Sanity

{
  const secret = "f1b2d3c4-not-so-secret";
  const make = async (name, operation, event, key, more) => {
    const body = JSON.stringify(event);
    const signature = await sanity.encodeSignatureHeader(body, NOW, secret);
    assert(await sanity.isValidSignature(body, signature, secret));
    const headers = [
      json,
      ["Sanity-Transaction-Id", "Xu4ZbHrCfz9Y6vYo9xJ5cd"],
      ["Sanity-Transaction-Time", "2023-11-14T22:13:19.980Z"],
      ["Sanity-Dataset", "production"],
      ["Sanity-Document-Id", event._id],
      ["Sanity-Project-Id", "zp7mbokg"],
      ["Sanity-Webhook-Id", "gXoLxsWQ8SqcbuoO"],
      ["Sanity-Operation", operation],
      ["Idempotency-Key", key],
      ["Sanity-Webhook-Signature", signature],
    ];
    return vector(name, "/hooks/sanity", { headers, body, secrets: [secret], delivery: key, event: operation, kind: operation, ...more });
  };
  const id = "4f3c1b9e-2d7a-4a52-9d0e-0a6f6d7c1b2e";
  const product = { _createdAt: "2023-11-14T22:00:00Z", _id: id, _rev: "Xu4ZbHrCfz9Y6vYo9xJ5cd", _type: "product", _updatedAt: "2023-11-14T22:13:19Z", slug: { _type: "slug", current: "cafe-creme" }, title: "Café crème ☕" };
  const before = { slug: "cafe", title: "Cafe" };
  const after = { slug: "cafe-creme", title: "Café crème ☕" };
  write("sanity", "@sanity/webhook 4.0.4 (npm), encodeSignatureHeader and isValidSignature", [
    await make("document updated, by a projection with before() and after()", "update", { _id: id, _type: "product", before, after }, "7b1f0d4a-11f0-4c0a-9d63-000000000001", { before, after }),
    await make("document created, without a projection", "create", product, "7b1f0d4a-11f0-4c0a-9d63-000000000002", {}),
    await make("document deleted, by a projection", "delete", { _id: id, _type: "product", before: after, after: null }, "7b1f0d4a-11f0-4c0a-9d63-000000000003", { before: after }),
  ]);
}

// Ghost

{
  const secret = "k3Vw9tQz";
  const make = (name, event, body_of, more) => {
    const body = JSON.stringify(body_of);
    const signature = `sha256=${hmac("sha256", secret, `${body}${NOW}`, "hex")}, t=${NOW}`;
    return vector(name, "/hooks/ghost", { headers: [json, ["Content-Version", "v6.0"], ["X-Ghost-Signature", signature]], body, secrets: [secret], event, ...more });
  };
  // A delivery that Ghost itself signed; its description shows the beginning of the body, and only one ending makes its signature.
  const tag = {
    id: "6682b8a8e10cc04306284330", name: "test", slug: "test", description: null, feature_image: null, visibility: "public", og_image: null,
    og_title: null, og_description: null, twitter_image: null, twitter_title: null, twitter_description: null, meta_title: null,
    meta_description: null, codeinjection_head: null, codeinjection_foot: null, canonical_url: null, accent_color: null,
    created_at: "2024-07-01T14:09:44.000Z", updated_at: "2024-07-01T14:09:44.000Z", url: "http://localhost:2368/404/",
  };
  const example = vector("the example of the change that signs the time", "/hooks/ghost", {
    headers: [json, ["Content-Version", "v5.87"], ["X-Ghost-Signature", "sha256=fc9749d5b3333109bd779f65d4b1b891576bc5c92febea3b1d186a7f946d0745, t=1719842984367"]],
    body: JSON.stringify({ tag: { current: tag, previous: {} } }),
    secrets: ["FOOBARBAZ"],
    now_ms: 1_719_842_985_000,
    event: "",
    event_from: "the body does not say; a hook's own address has to",
    after: tag,
    made_by: "documented example: https://github.com/TryGhost/Ghost/pull/20500",
  });
  assert.equal(hmac("sha256", "FOOBARBAZ", `${example.body}1719842984367`, "hex"), example.headers[2][1].slice(7, 71));
  const post = { id: "655b1a2c9d3e4f0001a1b2c3", uuid: "0f3b1f7e-9a0c-4a8e-9d6c-1f2e3d4c5b6a", title: "Café crème ☕", slug: "cafe-creme", status: "published", url: "https://blog.example/cafe-creme/", tags: [{ id: "655b1a2c9d3e4f0001a1b2c4", slug: "kaffee", name: "Kaffee" }] };
  const previous = { title: "Cafe", slug: "cafe", updated_at: "2023-11-14T22:00:00.000Z" };
  write("ghost", "by hand after https://github.com/TryGhost/Ghost/blob/main/ghost/core/core/server/services/webhooks/webhook-trigger.js: there is no SDK that verifies; the first is a delivery of Ghost's own", [
    example,
    make("published post edited", "post.published.edited", { event: "post.published.edited", post: { current: post, previous } }, { after: post, changed: ["title", "slug", "updated_at"], kind: "update" }),
    make("post deleted", "post.deleted", { event: "post.deleted", post: { current: {}, previous: { id: post.id, title: post.title, slug: post.slug } } }, { changed: ["id", "title", "slug"], kind: "delete" }),
    make("post published, by a version that does not name the event", "", { post: { current: post, previous: { status: "draft" } } }, { after: post, changed: ["status"] }),
  ]);
}

// GitLab

{
  const token = "glwh-3f1b8a60d2";
  const fields = (event, id) => [
    json,
    ["User-Agent", "GitLab/17.5.1-ee"],
    ["Idempotency-Key", id],
    ["X-Gitlab-Event", event],
    ["X-Gitlab-Webhook-UUID", "6a1f3d2e-0000-4000-8000-000000000001"],
    ["X-Gitlab-Instance", "https://gitlab.example"],
    ["X-Gitlab-Event-UUID", "13792a34-cac6-4fda-95a8-c58e00a3954e"],
  ];
  const project = { id: 15, name: "Kaffee", path_with_namespace: "roester/kaffee", default_branch: "main" };
  const make = (name, event, id, body_of, more) =>
    vector(name, "/hooks/gitlab", { headers: [...fields(event, id), ["X-Gitlab-Token", token]], body: JSON.stringify(body_of), secrets: [token], delivery: id, event, ...more });
  const push = { object_kind: "push", event_name: "push", before: "95790bf891e76fee5e1747ab589903a6a1f80f22", after: "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", ref: "refs/heads/main", checkout_sha: "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", project_id: 15, project, commits: [{ id: "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", message: "Café ☕", added: ["content/menu.md"], modified: ["content/index.md"], removed: [] }], total_commits_count: 1 };
  const issue = { object_kind: "issue", event_type: "issue", project, object_attributes: { id: 301, iid: 23, title: "Café ☕", action: "update" }, changes: { title: { previous: "Cafe", current: "Café ☕" }, updated_at: { previous: "2023-11-14 22:00:00 UTC", current: "2023-11-14 22:13:20 UTC" } } };
  const wiki = { object_kind: "wiki_page", project, object_attributes: { title: "Menu", slug: "menu", action: "delete" } };
  const signed = make("signed, as it can be since 2026", "Push Hook", "f5e5f430-f57b-4e6e-9fac-d9128cd7232f", push, {
    secrets: [SECRET],
    config: {
      verify: { scheme: "hmac", from: "header.webhook-signature", separator: " ", prefix: "v1,", encoding: "base64", key: "whsec", signed: "{header.webhook-id}.{header.webhook-timestamp}.{body}", timestamp: { from: "header.webhook-timestamp" } },
      delivery: "header.webhook-id",
    },
    made_by: "standardwebhooks 1.1.1 (npm), Webhook.sign, after https://gitlab.com/gitlab-org/gitlab/-/merge_requests/230944, which is tried with that library",
  });
  signed.headers = [...fields("Push Hook", signed.delivery), ...standard(signed.delivery, signed.body).slice(0, 3)];
  write(
    "gitlab",
    "by hand after https://docs.gitlab.com/user/project/integrations/webhooks/: the secret token is sent as it is",
    [
      make("push", "Push Hook", "f5e5f430-f57b-4e6e-9fac-d9128cd7232c", push, {}),
      make("issue updated", "Issue Hook", "f5e5f430-f57b-4e6e-9fac-d9128cd7232d", issue, { changed: ["title", "updated_at"], kind: "update" }),
      make("wiki page deleted", "Wiki Page Hook", "f5e5f430-f57b-4e6e-9fac-d9128cd7232e", wiki, { kind: "delete" }),
    ],
    [signed],
  );
}

// WooCommerce and WP Webhooks

{
  const secret = "wc & hooks é 7"; // stored with &amp;, and decoded before it signs
  const make = (name, topic, delivery_id, body, more) => {
    const headers = [
      ["User-Agent", "WooCommerce/10.3.0 Hookshot (WordPress/6.8.3)"],
      json,
      ["X-WC-Webhook-Source", "https://shop.example/"],
      ["X-WC-Webhook-Topic", topic],
      ["X-WC-Webhook-Resource", topic.split(".")[0]],
      ["X-WC-Webhook-Event", topic.split(".")[1]],
      ["X-WC-Webhook-Signature", hmac("sha256", secret, body, "base64")],
      ["X-WC-Webhook-ID", "12"],
      ["X-WC-Webhook-Delivery-ID", delivery_id],
    ];
    return vector(name, "/hooks/woocommerce", { headers, body, secrets: [secret], event: topic, ...more });
  };
  const product = (id, slug, name) => ({ id, name, slug, permalink: `https://shop.example/product/${slug}/`, date_modified: "2023-11-14T22:13:20", type: "simple", status: "publish", price: "19.90", categories: [{ id: 9, name: "Kaffee", slug: "kaffee" }] });
  const same = "a3ff1c5b8e9d4f20b6c1d7e8f9012345";
  write("woocommerce", "by hand after https://github.com/woocommerce/woocommerce/blob/trunk/plugins/woocommerce/includes/class-wc-webhook.php: there is no SDK that verifies", [
    make("product updated", "product.updated", same, php(product(799, "cafe-creme", "Café crème ☕")), { kind: "update" }),
    make("another product in the same second: it has the same delivery id", "product.updated", same, php(product(800, "cafe-noir", "Café noir")), { kind: "update" }),
    make("product deleted", "product.deleted", "b4ff1c5b8e9d4f20b6c1d7e8f9012345", php({ id: 799 }), { kind: "delete" }),
    make("a site that does not escape letters", "product.created", "c5ff1c5b8e9d4f20b6c1d7e8f9012345", JSON.stringify(product(801, "thé-vert", "Thé vert 🍵")), { kind: "create" }),
  ], [
    vector("the ping when a hook is made: unsigned, a form, to be answered with exactly 200", "/hooks/woocommerce", {
      headers: [["User-Agent", "WooCommerce/10.3.0 Hookshot (WordPress/6.8.3)"], ["Content-Type", "application/x-www-form-urlencoded"]],
      body: "webhook_id=12",
      secrets: [secret],
      config: null,
      why: "it proves nothing; unless it is answered with 200 the hook cannot be made in the first place",
      made_by: "by hand after deliver_ping of class-wc-webhook.php",
    }),
  ]);
}

{
  const secret = "wpwh-secret-9f3";
  const make = (name, hook, body_of, more) => {
    const body = php(body_of);
    const headers = [
      ["Content-Type", "application/json; charset=UTF-8"],
      ["X-WP-Webhook-Source", "https://blog.example/"],
      ["X-WP-Webhook-Name", hook],
      ["X-WP-Webhook-URL-Name", "cache"],
      ["X-WP-Webhook-Signature", hmac("sha256", secret, body, "base64")],
    ];
    return vector(name, "/hooks/wordpress", { headers, body, secrets: [secret], event: hook, ...more });
  };
  const post = { ID: 123, post_author: "1", post_title: "Café crème ☕", post_status: "publish", post_name: "cafe-creme", post_type: "post", guid: "https://blog.example/?p=123" };
  write("wordpress", "by hand after WP Webhooks, generate_trigger_signature and post_to_webhook of https://wordpress.org/plugins/wp-webhooks/: there is no SDK", [
    make("post updated", "post_update", { post_id: 123, post, post_permalink: "https://blog.example/cafe-creme/" }, { kind: "update" }),
    make("post deleted", "post_delete", { post_id: 123, post }, { kind: "delete" }),
    make("post created", "post_create", { post_id: 124, post: { ...post, ID: 124 } }, { kind: "create" }),
  ]);
}

// Hygraph

{
  const secret = "rCNwyiloY3oJYYkxgpBXaleIiUv5MYlx";
  const make = (name, body_of, environmentName, more) => {
    const body = JSON.stringify(body_of);
    const signature = hygraph.generateWebhookSignature({ rawPayload: body, environmentName, secret });
    assert(hygraph.verifyWebhookSignature({ rawPayload: body, signature, secret }));
    return vector(name, "/hooks/hygraph", { headers: [json, ["gcms-signature", signature]], body, secrets: [secret], event: body_of.operation, ...more });
  };
  const data = { __typename: "Product", id: "ckv1abcde0000xyz", slug: "cafe-creme", name: 'Café "crème" ☕\n\\ 1/2', stage: "DRAFT", updatedAt: "2023-11-14T22:13:20.000000+00:00", localizations: [{ locale: "fr", name: "Café" }] };
  write("hygraph", "@hygraph/utils 1.2.1 (npm), generateWebhookSignature and verifyWebhookSignature", [
    make("product updated", { operation: "update", data }, "master", { kind: "update" }),
    make("product deleted, in another environment", { operation: "delete", data: { __typename: "Product", id: data.id, stage: "DRAFT" } }, 'pre "prod"', { kind: "delete" }),
    make("product published", { operation: "publish", data: { ...data, stage: "PUBLISHED" } }, "master", {}),
  ]);
}

// Kontent.ai

{
  const secret = "nMQfsCzzCSLFZoa7wK0zGUbEE7Q0pIHqLCR6IbTgdd4=";
  const make = (name, notifications, more) => {
    const body = JSON.stringify({ notifications });
    const signature = kontent.getHashFromString(body, secret);
    assert(kontent.isValidSignatureFromString(body, secret, signature));
    const { object_type, action } = notifications[0].message;
    return vector(name, "/hooks/kontent-ai", {
      headers: [json, ["X-Kontent-ai-Signature", signature]],
      body,
      secrets: [secret],
      event: `${object_type}.${action}`,
      event_from: "$.message.object_type + $.message.action of the item",
      each: "$.notifications[*]",
      ...more,
    });
  };
  const item = (codename, action, name = "Café crème ☕") => ({
    data: { system: { id: "aa7f127f-1920-4454-a89a-0609aba8ea6f", name, codename, collection: "default", workflow: "default", workflow_step: "published", language: "fr", type: "article", last_modified: "2023-11-14T22:13:19.0563735Z" } },
    message: { environment_id: "0f5b6cb2-ea82-014e-ac74-f71e7e8b6aee", object_type: "content_item", action, delivery_slot: "published" },
  });
  const object = (object_type, action, delivery_slot) => ({
    data: { system: { id: "ef4f127f-1920-4454-a89a-0609aba8ea70", name: "Article", codename: "article", last_modified: "2023-11-14T22:13:19.0563735Z" } },
    message: { environment_id: "0f5b6cb2-ea82-014e-ac74-f71e7e8b6aee", object_type, action, delivery_slot },
  });
  const one = (vector) => (delete vector.each, vector);
  write("kontent-ai", "@kontent-ai/webhook-helper 3.0.3 (npm), getHashFromString and isValidSignatureFromString", [
    one(make("item published", [item("cafe_creme", "published")], {})),
    make("two items at once", [item("cafe_creme", "metadata_changed"), item("cafe_noir", "unpublished", "Café noir")], { kind: "update" }),
    one(make("asset deleted", [object("asset", "deleted", "published")], { kind: "delete" })),
    one(make("content type changed", [object("content_type", "changed", "preview")], { kind: "update" })),
  ]);
}

// Webflow

{
  const secret = "4d2b0c9e6f1a4b7d8c3e5f60718293a4b5c6d7e8f90123456789abcdef012345";
  const webhooks = new WebflowClient({ accessToken: "none" }).webhooks;
  const make = async (name, event, more) => {
    const body = JSON.stringify(event);
    const headers = [json, ["x-webflow-timestamp", String(NOW)], ["x-webflow-signature", hmac("sha256", secret, `${NOW}:${body}`, "hex")]];
    assert(await webhooks.verifySignature({ headers: Object.fromEntries(headers), body, secret }));
    return vector(name, "/hooks/webflow", { headers, body, secrets: [secret], event: event.triggerType, ...more });
  };
  const payload = { id: "654ae0f3d4c5b6a798012345", siteId: "65427cf400e02b306eaa049c", workspaceId: "625860a7a6c16d624927122f", collectionId: "65429c5cb2b0e7d0d5f51d3b", cmsLocaleId: null, lastPublished: "2023-11-14T22:13:19.000Z", lastUpdated: "2023-11-14T22:13:19.000Z", isArchived: false, isDraft: false, fieldData: { name: "Café crème ☕", slug: "cafe-creme" } };
  const { id, siteId, workspaceId, collectionId } = payload;
  write("webflow", "signed by hand, accepted by webflow-api 3.3.4 (npm), webhooks.verifySignature", [
    await make("item changed", { triggerType: "collection_item_changed", payload }, { kind: "update" }),
    await make("item deleted", { triggerType: "collection_item_deleted", payload: { id, siteId, workspaceId, collectionId } }, { kind: "delete" }),
    await make("item created", { triggerType: "collection_item_created", payload }, { kind: "create" }),
    await make("site published", { triggerType: "site_publish", payload: { domain: ["boutique.example"], site: siteId, publishTime: NOW, publishedBy: { displayName: "Renée" } } }, {}),
  ]);
}

// Vercel and Storyblok

{
  const secret = "Vz8mZ3kQp1TnW5xY7aB9cD2e";
  const make = (name, event, more) => {
    const body = JSON.stringify(event);
    const headers = [json, ["x-vercel-signature", hmac("sha1", secret, body, "hex")]];
    return vector(name, "/hooks/vercel", { headers, body, secrets: [secret], delivery: event.id, event: event.type, ...more });
  };
  const deployment = { id: "dpl_FjHqKqFsZ8Nk2TjJ5gV3yA7wX1bD", meta: { githubCommitMessage: "Café ☕" }, name: "boutique", url: "boutique-7k2x.vercel.app", inspectorUrl: "https://vercel.com/acme/boutique" };
  const payload = { user: { id: "Q4m1" }, team: { id: "team_7aB" }, deployment, links: { deployment: "https://vercel.com/acme/boutique/7k2x" }, target: "production", project: { id: "prj_Qmc52npJ3yAZ7wRFpS" }, plan: "pro", regions: ["fra1"] };
  write("vercel", "by hand after https://vercel.com/docs/webhooks/webhooks-api: there is no SDK that verifies", [
    make("deployment promoted", { type: "deployment.promoted", id: "hook_9sF2Lq0aXvR7", createdAt: NOW, region: null, payload }, {}),
    make("project removed", { type: "project.removed", id: "hook_9sF2Lq0aXvR8", createdAt: NOW, region: null, payload: { user: payload.user, team: payload.team, project: { id: payload.project.id, name: "boutique" } } }, { kind: "delete" }),
  ]);
}

{
  const secret = "sb-secret-5c1";
  const make = (name, event, more) => {
    const body = JSON.stringify(event);
    const headers = [json, ["webhook-signature", hmac("sha1", secret, body, "hex")]];
    return vector(name, "/hooks/storyblok", { headers, body, secrets: [secret], event: event.action, ...more });
  };
  const story = { space_id: 288868932106293, story_id: 314931981 };
  write("storyblok", "by hand after https://www.storyblok.com/docs/concepts/webhooks: there is no SDK that verifies", [
    make("story published", { text: "The user renee@example.com published the Story Café crème ☕ (fr/cafe-creme)\nhttps://app.storyblok.com/#/me/spaces/288868932106293/stories/0/0/314931981", action: "published", ...story, full_slug: "fr/cafe-creme" }, {}),
    make("story deleted", { text: "The user renee@example.com deleted the Story Café crème ☕ (fr/cafe-creme)", action: "deleted", ...story, full_slug: "fr/cafe-creme" }, { kind: "delete" }),
    make("story moved", { text: "The user renee@example.com moved the Story Café crème ☕ (fr/cafe-creme)", action: "moved", ...story, full_slug: "fr/boissons/cafe-creme" }, {}),
  ]);
}

// Those that send a secret as it is

{
  const token = "strapi-hook-2b8f";
  const make = (name, event, entry, more) =>
    vector(name, "/hooks/strapi", {
      headers: [["Authorization", `Bearer ${token}`], ["X-Strapi-Event", event], json],
      body: JSON.stringify({ event, createdAt: "2023-11-14T22:13:20.000Z", model: "article", uid: "api::article.article", entry }),
      secrets: [token],
      event,
      ...more,
    });
  const entry = { id: 12, documentId: "u6rp39cqiqqkl4fjbmzxpccc", title: "Café crème ☕", slug: "cafe-creme", locale: "fr", publishedAt: null };
  write("strapi", "by hand after https://github.com/strapi/strapi/blob/develop/packages/core/core/src/services/webhook-runner.ts: nothing is signed", [
    make("entry updated", "entry.update", entry, { kind: "update" }),
    make("entry deleted", "entry.delete", entry, { kind: "delete" }),
    make("entry published", "entry.publish", { ...entry, publishedAt: "2023-11-14T22:13:20.000Z" }, {}),
  ]);
}

{
  const token = "directus-flow-2b8f";
  const make = (name, body_of, more) =>
    vector(name, "/hooks/directus", { headers: [["Authorization", `Bearer ${token}`], json], body: JSON.stringify(body_of), secrets: [token], event: body_of.event, ...more });
  write("directus", "by hand after https://directus.io/docs/guides/automate/triggers: a Flow whose operation Webhook / Request URL has the body {{$trigger}} and a field Authorization", [
    make("items updated", { event: "items.update", accountability: { user: "84da2ed0-0000-4000-8000-000000000000", role: null }, payload: { title: "Café crème ☕" }, keys: ["12", "13"], collection: "articles" }, { kind: "update" }),
    make("items deleted", { event: "items.delete", accountability: null, payload: ["12"], keys: ["12"], collection: "articles" }, { kind: "delete" }),
    make("items created", { event: "items.create", accountability: null, payload: { title: "Thé", slug: "the" }, key: 14, collection: "articles" }, { kind: "create" }),
  ]);
}

{
  const token = "supabase-hook-2b8f";
  const make = (name, type, record, old_record, more) =>
    vector(name, "/hooks/supabase", {
      headers: [["Authorization", `Bearer ${token}`], json],
      body: JSON.stringify({ type, table: "products", record, schema: "public", old_record }),
      secrets: [token],
      event: `products.${type}`,
      event_from: "$.table + $.type",
      ...more,
    });
  const before = { id: 7, slug: "cafe", title: "Cafe", price: 3.5 };
  const after = { ...before, slug: "cafe-creme", title: "Café crème ☕" };
  const auth_body = JSON.stringify({ metadata: { uuid: "8b1a5d0e-0000-4000-8000-000000000001", time: "2023-11-14T22:13:20.000Z", name: "before-user-created" }, user: { id: "ff7fc9ae-3b1b-4642-9241-64adb9848a03", email: "renée@example.com" } });
  write(
    "supabase",
    "by hand after https://supabase.com/docs/guides/database/webhooks: nothing is signed; the field is one the operator adds",
    [
      make("row updated", "UPDATE", after, before, { before, after, kind: "update" }),
      make("row deleted", "DELETE", null, after, { before: after, kind: "delete" }),
      make("row inserted", "INSERT", before, null, { after: before, kind: "create" }),
    ],
    [
      vector("a hook of Auth, which is signed", "/hooks/supabase", {
        headers: standard("8b1a5d0e-0000-4000-8000-000000000001", auth_body),
        body: auth_body,
        secrets: [`v1,${SECRET}`],
        delivery: "8b1a5d0e-0000-4000-8000-000000000001",
        config: null,
        why: "preset standard-webhooks; the dashboard shows the secret as v1,whsec_… and people paste that",
        made_by: "standardwebhooks 1.1.1 (npm), Webhook.sign, after https://supabase.com/docs/guides/auth/auth-hooks",
      }),
    ],
  );
}

{
  const secret = "hasura-hook-2b8f";
  const make = (name, id, op, old, now, more) =>
    vector(name, "/hooks/hasura", {
      headers: [json, ["User-Agent", "hasura-graphql-engine/v2.36.0"], ["X-Webhook-Secret", secret]],
      body: JSON.stringify({
        event: { session_variables: { "x-hasura-role": "admin" }, op, data: { old, new: now }, trace_context: null },
        created_at: "2023-11-14T22:13:20.123456Z",
        id,
        delivery_info: { max_retries: 0, current_retry: 0 },
        trigger: { name: "product_cache" },
        table: { schema: "public", name: "products" },
      }),
      secrets: [secret],
      delivery: id,
      event: `product_cache.${op}`,
      event_from: "$.trigger.name + $.event.op",
      ...more,
    });
  const before = { id: 7, slug: "cafe", title: "Cafe" };
  const after = { id: 7, slug: "cafe-creme", title: "Café crème ☕" };
  write("hasura", "by hand after https://hasura.io/docs/2.0/event-triggers/payload/: nothing is signed; the field is one the operator adds", [
    make("row updated", "85558393-c75d-4d2f-9c15-e80591b83894", "UPDATE", before, after, { before, after, kind: "update" }),
    make("row deleted", "85558393-c75d-4d2f-9c15-e80591b83895", "DELETE", after, null, { before: after, kind: "delete" }),
    make("row inserted", "85558393-c75d-4d2f-9c15-e80591b83896", "INSERT", null, before, { after: before, kind: "create" }),
    make("invoked by hand from the console", "85558393-c75d-4d2f-9c15-e80591b83897", "MANUAL", null, after, { after }),
  ]);
}

{
  const secret = "prismic-hook-2b8f";
  const make = (name, type, rest, more) =>
    vector(name, "/hooks/prismic", {
      headers: [json],
      body: JSON.stringify({ type, ...rest, domain: "boutique", apiUrl: "https://boutique.prismic.io/api", secret }),
      secrets: [secret],
      event: type,
      ...more,
    });
  const update = (documents) => ({ masterRef: "ZVPuEhEAACMAx9Jw", releases: {}, masks: {}, tags: {}, experiments: {}, documents });
  write("prismic", "by hand after https://prismic.io/docs/webhooks: nothing is signed; the secret is in the body", [
    make("a document published or archived", "api-update", update(["XrqDtBIAACUAXfe8"]), {}),
    make("two documents at once", "api-update", update(["XrqDtBIAACUAXfe8", "XrqDtBIAACUAXfe9"]), { each: "$.documents[*]", event_from: "$.type of the whole body; each item is a string, the document's id" }),
    make("a tag added", "api-update", { ...update([]), tags: { addition: [{ id: "Café" }] } }, {}),
    make("the button that tests it", "test-trigger", {}, {}),
  ]);
}

// Debezium

{
  const target = "/hooks/debezium";
  const source = { version: "3.3.1.Final", connector: "postgresql", name: "shop", ts_ms: NOW - 500, snapshot: "false", db: "shop", schema: "public", table: "products", lsn: 24023128 };
  const before = { id: 7, slug: "cafe", title: "Cafe" };
  const after = { id: 7, slug: "cafe-creme", title: "Café crème ☕" };
  const payload = (op, before, after) => ({ before, after, source, transaction: null, op, ts_ms: NOW });
  const envelope = (payload) => ({ schema: { type: "struct", name: "shop.public.products.Envelope", optional: false, fields: [] }, payload });
  const make = (name, id, body_of, op, more) => {
    const body = JSON.stringify(body_of);
    const headers = standard(id, body);
    return accepts(StandardWebhook, vector(name, target, { headers, body, secrets: [SECRET], delivery: id, event: `products.${op}`, event_from: "$.payload.source.table + $.payload.op", ...more }));
  };
  const id = (digit) => `msg_0b8f3d1e-6c2a-4f7d-9a51-00000000000${digit}`;
  const updated = payload("u", before, after);
  const deleted = payload("d", after, null);
  const told = { before, after, kind: "update" };
  const bare = { name: ["$.source.table", "$.op"], before: "$.before", after: "$.after", kind: { from: "$.op", create: ["c", "r"], update: "u", delete: ["d", "t"] } };
  write(
    "debezium",
    "standardwebhooks 1.1.1 (npm), Webhook.sign, after https://github.com/debezium/debezium-server/blob/main/debezium-server-http/src/main/java/io/debezium/server/http/webhooks/StandardWebhooksAuthenticator.java",
    [
      make("row updated", id(1), envelope(updated), "u", told),
      make("row deleted", id(2), envelope(deleted), "d", { before: after, kind: "delete" }),
      make("row created", id(3), envelope(payload("c", null, before)), "c", { after: before, kind: "create" }),
      make("a batch of two", id(4), [envelope(updated), envelope(deleted)], "u", { ...told, each: "$[*]" }),
    ],
    [
      make("with schemas.enable=false, as most set it", id(5), updated, "u", { ...told, event_from: "$.source.table + $.op", config: { event: bare }, made_by: "standardwebhooks 1.1.1 (npm), Webhook.sign" }),
      make("a batch of two with schemas.enable=false", id(6), [updated, deleted], "u", { ...told, each: "$[*]", event_from: "$.source.table + $.op of the item", config: { event: { ...bare, each: "$[*]" } }, made_by: "standardwebhooks 1.1.1 (npm), Webhook.sign" }),
    ],
  );
}

// CloudEvents

{
  const event = (id, what, data) => new CloudEvent({ id, source: "/shop", type: `com.example.product.${what}`, subject: "7", time: "2023-11-14T22:13:20.000Z", datacontenttype: "application/json", data });
  const updated = event("A234-1234-1234", "updated", { id: 7, slug: "cafe-creme", title: "Café crème ☕" });
  const deleted = event("A234-1234-1235", "deleted", { id: 7, slug: "cafe-creme" });
  const make = (name, id, message, more) => {
    const read = HTTP.toEvent({ headers: { ...message.headers }, body: message.body });
    assert([read].flat().every(({ id }) => [updated.id, deleted.id].includes(id)));
    const headers = [...Object.entries(message.headers), ...standard(id, message.body).slice(0, 3)];
    return accepts(StandardWebhook, vector(name, "/hooks/cloudevents", { headers, body: message.body, secrets: [SECRET], ...more }));
  };
  const batch = { headers: { "content-type": "application/cloudevents-batch+json; charset=utf-8" }, body: JSON.stringify([updated, deleted]) };
  write("cloudevents", "cloudevents 10.0.0 (npm), HTTP.structured and HTTP.binary, signed by standardwebhooks 1.1.1 (npm); CloudEvents themselves say nothing of signatures", [
    make("product updated, structured", "msg_ce1", HTTP.structured(updated), { delivery: `/shop ${updated.id}`, event: updated.type, kind: "update" }),
    make("product updated, binary", "msg_ce2", HTTP.binary(updated), { delivery: `/shop ${updated.id}`, event: updated.type, kind: "update" }),
    make("product deleted, binary", "msg_ce3", HTTP.binary(deleted), { delivery: `/shop ${deleted.id}`, event: deleted.type, kind: "delete" }),
    make("a batch of two", "msg_ce4", batch, { event: updated.type, event_from: "$.type of the item", kind: "update", each: "$[*]" }),
  ]);
}

// What make.py made

{
  const { vectors } = JSON.parse(fs.readFileSync(path.join(OUT, "aws-sns.json"), "utf8"));
  https.get = (_url, answered) => {
    const response = new EventEmitter();
    response.statusCode = 200;
    answered(response);
    response.emit("data", Buffer.from(vectors[0].secrets[0]));
    response.emit("end");
    return response;
  };
  for (const vector of vectors) {
    await new Promise((resolve, reject) => new SnsValidator().validate(vector.body, (error) => (error ? reject(error) : resolve())));
  }
}

{
  const { vectors, also } = JSON.parse(fs.readFileSync(path.join(OUT, "contentstack.json"), "utf8"));
  const header = (vector, name) => vector.headers.find((field) => field[0].toLowerCase() === name)[1];
  for (const vector of vectors) {
    const parts = header(vector, "x-contentstack-hmac-signature").split(",").map((part) => part.split("="));
    const expected = hmac("sha256", vector.secrets[0], `${parts[0][1]}.${vector.body}`, "hex");
    assert(parts.some(([key, value]) => key === "v1" && value === expected));
  }
  for (const vector of also) {
    const key = { key: crypto.createPublicKey(vector.secrets[0]), padding: crypto.constants.RSA_PKCS1_PSS_PADDING };
    const signature = Buffer.from(header(vector, "x-contentstack-request-signature").slice(3), "base64");
    assert(crypto.verify("sha256", Buffer.from(vector.body), key, signature));
  }
}
