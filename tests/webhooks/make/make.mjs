// Makes ../vectors: `npm install && node make.mjs`. Signed by the senders' own libraries where there are any.
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";
import { writeFileSync } from "node:fs";
const require = createRequire(import.meta.url);
const { signRequest } = require("@contentful/node-apps-toolkit");
const { generateWebhookSignature, verifyWebhookSignature } = require("@hygraph/utils");
const { signatureHelper } = require("@kontent-ai/webhook-helper");
const { sign } = await import("@octokit/webhooks-methods");
const { encodeSignatureHeader } = require("@sanity/webhook");
const { Webhook: Standard } = require("standardwebhooks");
const Stripe = require("stripe");
const { Webhook: Svix } = require("svix");

const NOW = 1700000000000;
const SECONDS = NOW / 1000;
const WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TEXT = "Crème brûlée 🍮";

const hmac = (algorithm, secret, text, encoding) =>
  createHmac(algorithm, secret).update(text).digest(encoding);

function write(preset, made_by, vectors) {
  const whole = vectors.map((vector) => ({
    method: "POST",
    target: "/hook",
    now_ms: NOW,
    delivery: null,
    before: null,
    after: null,
    changed: null,
    kind: null,
    each: null,
    ...vector,
    body: typeof vector.body === "string" ? vector.body : JSON.stringify(vector.body),
  }));
  const text = JSON.stringify({ made_by, vectors: whole }, null, 2);
  writeFileSync(new URL(`../vectors/${preset}.json`, import.meta.url), text + "\n");
}

function standard(headers, body, name, rest, signer = new Standard(WHSEC)) {
  const id = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W";
  const text = JSON.stringify(body);
  const signature = signer.sign(id, new Date(NOW), text);
  return {
    name,
    headers: [
      [headers[0], id],
      [headers[1], String(SECONDS)],
      [headers[2], `v1,AAAA ${signature}`],
    ],
    body: text,
    secrets: [WHSEC],
    delivery: id,
    ...rest,
  };
}

const STANDARD = ["webhook-id", "webhook-timestamp", "webhook-signature"];
const article = { id: 7, title: TEXT, slug: "creme-brulee" };
const renamed = { ...article, slug: "creme" };
write("standard-webhooks", "standardwebhooks 1.1.1 (npm), sign", [
  standard(STANDARD, { type: "article.updated", data: { before: article, after: renamed } }, "renamed", {
    event: "article.updated", before: article, after: renamed, kind: "update",
  }),
  standard(STANDARD, { type: "article.deleted", data: { before: article, after: null } }, "deleted", {
    event: "article.deleted", before: article, kind: "delete",
  }),
]);
write("django", "standardwebhooks 1.1.1 (npm), sign", [
  standard(STANDARD, { type: "blog.article.updated", data: { before: article, after: renamed, update_fields: ["slug"] } },
    "renamed", { event: "blog.article.updated", before: article, after: renamed, changed: ["slug"], kind: "update" }),
]);
write("svix", "svix 1.99.1 (npm), sign", [
  standard(["svix-id", "svix-timestamp", "svix-signature"], { type: "user.updated", data: { id: "user_1", name: TEXT } },
    "updated", { event: "user.updated", kind: "update" }, new Svix(WHSEC)),
]);
write("debezium", "standardwebhooks 1.1.1 (npm), sign; the body after Debezium's documentation of change events", [
  standard(STANDARD, { payload: { op: "u", before: article, after: renamed, source: { db: "shop", table: "articles" } } },
    "updated", { event: "articles.u", before: article, after: renamed, kind: "update" }),
  standard(STANDARD, { payload: { op: "d", before: article, after: null, source: { db: "shop", table: "articles" } } },
    "deleted", { event: "articles.d", before: article, kind: "delete" }),
]);
write("cloudevents", "standardwebhooks 1.1.1 (npm), sign; the body after CloudEvents 1.0, structured mode", [
  standard(STANDARD, { specversion: "1.0", id: "A234-1234-1234", type: "com.example.article.updated", source: "/cms", subject: "7", data: article },
    "updated", { event: "com.example.article.updated", delivery: "A234-1234-1234", kind: "update" }),
]);

const release = JSON.stringify({ action: "published", release: { tag_name: "v1.0", name: TEXT }, repository: { full_name: "a/b" } });
write("github", "@octokit/webhooks-methods 6.0.0 (npm), sign", [
  { name: "release", body: release, secrets: ["It's a Secret to Everybody"], event: "release.published",
    headers: [["X-GitHub-Event", "release"], ["X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"],
      ["X-Hub-Signature-256", await sign("It's a Secret to Everybody", release)]],
    delivery: "72d3162e-cc78-11e3-81ab-4c9367dc0958" },
]);
write("gitlab", "by hand after GitLab's documentation: the token itself is sent", [
  { name: "push", body: { object_kind: "push", project: { path_with_namespace: "a/b" }, commits: [] }, secrets: ["a-token-of-gitlab"],
    headers: [["X-Gitlab-Event", "Push Hook"], ["X-Gitlab-Token", "a-token-of-gitlab"], ["Idempotency-Key", "f5e5f430-f57b-4e6e-9fac-d9128cd7232f"]],
    event: "Push Hook", delivery: "f5e5f430-f57b-4e6e-9fac-d9128cd7232f" },
]);

const price = JSON.stringify({ id: "evt_1", type: "product.updated", data: { object: { id: "prod_1", name: TEXT }, previous_attributes: { name: "x" } } });
const stripe = new (Stripe.default ?? Stripe)("sk_test_x");
write("stripe", "stripe 23.1.0 (npm), webhooks.generateTestHeaderString", [
  { name: "renamed", body: price, secrets: ["whsec_test_secret"], event: "product.updated", delivery: "evt_1", changed: ["name"], kind: "update",
    after: { id: "prod_1", name: TEXT },
    headers: [["Stripe-Signature", stripe.webhooks.generateTestHeaderString({ payload: price, secret: "whsec_test_secret", timestamp: SECONDS })]] },
  { name: "rotated", body: price, secrets: ["whsec_old", "whsec_test_secret"], event: "product.updated", delivery: "evt_1",
    headers: [["Stripe-Signature", stripe.webhooks.generateTestHeaderString({ payload: price, secret: "whsec_test_secret", timestamp: SECONDS })
      .replace(",v1=", ",v1=0000,v1=")]] },
]);

const product = JSON.stringify({ id: 788032119674292922, title: TEXT, handle: "creme-brulee", variants: [{ id: 1 }] });
write("shopify", "by hand after Shopify's documentation: its library signs none without an app", [
  { name: "updated", body: product, secrets: ["hush"], event: "products/update", kind: "update", delivery: "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
    headers: [["X-Shopify-Topic", "products/update"], ["X-Shopify-Webhook-Id", "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"],
      ["X-Shopify-Hmac-Sha256", hmac("sha256", "hush", product, "base64")]] },
]);
write("woocommerce", "by hand after WC_Webhook::generate_signature", [
  { name: "updated", body: product, secrets: ["hush"], event: "product.updated", kind: "update", delivery: "42",
    headers: [["X-WC-Webhook-Topic", "product.updated"], ["X-WC-Webhook-Delivery-ID", "42"],
      ["X-WC-Webhook-Signature", hmac("sha256", "hush", product, "base64")]] },
]);

const entry = JSON.stringify({ sys: { id: "e1", type: "Entry", contentType: { sys: { id: "article" } } }, fields: { slug: { "en-US": "creme" }, title: { "en-US": TEXT } } });
const contentful_secret = "a".repeat(64);
const contentful_headers = { "X-Contentful-Topic": "ContentManagement.Entry.publish", "X-Contentful-Idempotency-Key": "k1", "Content-Type": "application/json" };
write("contentful", "@contentful/node-apps-toolkit 3.16.1 (npm), signRequest", [
  { name: "published", target: "/hook?a=b%20c", body: entry, secrets: [contentful_secret], event: "ContentManagement.Entry.publish", delivery: "k1",
    headers: [...Object.entries(contentful_headers), ...Object.entries(
      signRequest(contentful_secret, { method: "POST", path: "/hook?a=b%20c", body: entry, headers: contentful_headers }, NOW)).map(([name, value]) => [name, String(value)])] },
  { name: "without a query", body: entry, secrets: [contentful_secret], event: "ContentManagement.Entry.publish", delivery: "k1",
    headers: [...Object.entries(contentful_headers), ...Object.entries(
      signRequest(contentful_secret, { method: "POST", path: "/hook", body: entry, headers: contentful_headers }, NOW)).map(([name, value]) => [name, String(value)])] },
]);

const document = JSON.stringify({ _id: "d1", _type: "article", title: TEXT, before: { slug: "a" }, after: { slug: "b" } });
write("sanity", "@sanity/webhook 4.0.4 (npm), encodeSignatureHeader", [
  { name: "updated", body: document, secrets: ["hush"], event: "update", kind: "update", before: { slug: "a" }, after: { slug: "b" }, delivery: "k2",
    headers: [["sanity-operation", "update"], ["idempotency-key", "k2"], ["sanity-webhook-signature", await encodeSignatureHeader(document, NOW, "hush")]] },
]);

const post = JSON.stringify({ post: { current: { id: "p1", slug: "b", title: TEXT, url: "https://a.test/b/" }, previous: { slug: "a" } } });
write("ghost", "by hand after Ghost's WebhookTrigger.js", [
  { name: "renamed", body: post, secrets: ["hush"], event: "", changed: ["slug"],
    headers: [["X-Ghost-Signature", `sha256=${hmac("sha256", "hush", post + NOW, "hex")}, t=${NOW}`]] },
]);
write("prismic", "by hand after Prismic's documentation: the secret is in the body", [
  { name: "api-update", body: { type: "api-update", secret: "hush-hush", masterRef: "X6qn-RIAACMAVge1", documents: ["a", "b"] }, secrets: ["hush-hush"], event: "api-update", headers: [] },
]);
const story = JSON.stringify({ action: "published", story_id: 107350611, full_slug: "home", space_id: 1, text: TEXT });
write("storyblok", "by hand after Storyblok's documentation", [
  { name: "published", body: story, secrets: ["hush"], event: "published", headers: [["webhook-signature", hmac("sha1", "hush", story, "hex")]] },
]);

const hygraph = { operation: "update", data: { __typename: "Post", id: "p1", slug: "b", title: TEXT } };
// It takes the time of the clock.
Date.now = () => NOW;
const hygraph_signature = generateWebhookSignature({ body: hygraph, environmentName: "master", secret: "hush" });
if (!verifyWebhookSignature({ body: hygraph, signature: hygraph_signature, secret: "hush" })) throw new Error("hygraph");
write("hygraph", "@hygraph/utils 1.2.1 (npm), generateWebhookSignature", [
  { name: "updated", body: JSON.stringify(hygraph), secrets: ["hush"], event: "update", kind: "update", headers: [["gcms-signature", hygraph_signature]] },
]);

const item = (codename, action) => ({ data: { system: { id: codename, codename, type: "article", language: "en" } }, message: { object_type: "content_item", action, delivery_slot: "published" } });
const notifications = JSON.stringify({ notifications: [item("one", "published"), item(TEXT, "unpublished")] });
const kontent = hmac("sha256", "hush", notifications, "base64");
if (!signatureHelper.isValidSignatureFromString(notifications, "hush", kontent)) throw new Error("kontent-ai");
write("kontent-ai", "signed by hand, accepted by @kontent-ai/webhook-helper 3.0.3 (npm)", [
  { name: "two items", body: notifications, secrets: ["hush"], event: "content_item.published", each: "$.notifications[*]", headers: [["X-Kontent-ai-Signature", kontent]] },
]);

const webflow = JSON.stringify({ triggerType: "collection_item_changed", payload: { id: "i1", slug: "b", name: TEXT } });
write("webflow", "by hand after Webflow's documentation", [
  { name: "changed", body: webflow, secrets: ["hush"], event: "collection_item_changed",
    headers: [["x-webflow-timestamp", String(NOW)], ["x-webflow-signature", hmac("sha256", "hush", `${NOW}:${webflow}`, "hex")]] },
]);
const deployment = JSON.stringify({ id: "uev_1", type: "deployment.promoted", payload: { project: { id: "prj_1" }, text: TEXT } });
write("vercel", "by hand after Vercel's documentation", [
  { name: "promoted", body: deployment, secrets: ["hush"], event: "deployment.promoted", delivery: "uev_1", headers: [["x-vercel-signature", hmac("sha1", "hush", deployment, "hex")]] },
]);
const wordpress = JSON.stringify({ post_id: 7, post: { post_name: "b", post_title: TEXT } });
write("wordpress", "by hand after the documentation of WP Webhooks", [
  { name: "updated", body: wordpress, secrets: ["hush"], event: "post_update", kind: "update",
    headers: [["X-WP-Webhook-Name", "post_update"], ["X-WP-Webhook-Signature", hmac("sha256", "hush", wordpress, "base64")]] },
]);

const bearer = [["Authorization", "Bearer a-static-token"]];
write("strapi", "by hand after Strapi's documentation: a field that the operator writes", [
  { name: "published", body: { event: "entry.publish", model: "article", uid: "api::article.article", entry: article }, secrets: ["a-static-token"],
    event: "entry.publish", headers: [["X-Strapi-Event", "entry.publish"], ...bearer] },
  { name: "deleted", body: { event: "entry.delete", model: "article", uid: "api::article.article", entry: article }, secrets: ["a-static-token"],
    event: "entry.delete", kind: "delete", headers: [["X-Strapi-Event", "entry.delete"], ...bearer] },
]);
write("directus", "by hand after Directus' documentation of flows: the body is the operator's", [
  { name: "updated", body: { event: "articles.items.update", collection: "articles", keys: [7], payload: { slug: "b" } }, secrets: ["a-static-token"],
    event: "articles.items.update", kind: "update", headers: bearer },
]);
write("supabase", "by hand after Supabase's documentation", [
  { name: "updated", body: { type: "UPDATE", table: "articles", schema: "public", record: renamed, old_record: article }, secrets: ["a-static-token"],
    event: "articles.UPDATE", before: article, after: renamed, kind: "update", headers: bearer },
  { name: "inserted", body: { type: "INSERT", table: "articles", schema: "public", record: article, old_record: null }, secrets: ["a-static-token"],
    event: "articles.INSERT", after: article, kind: "create", headers: bearer },
]);
write("hasura", "by hand after Hasura's documentation of event triggers", [
  { name: "updated", body: { id: "85558393-c75d-4d2f-9c15-e80591b83894", created_at: "2018-09-05T07:14:21.601701Z", trigger: { name: "article_changed" }, table: { schema: "public", name: "articles" },
      event: { op: "UPDATE", data: { old: article, new: renamed } } }, secrets: ["a-static-token"],
    event: "article_changed.UPDATE", before: article, after: renamed, kind: "update", delivery: "85558393-c75d-4d2f-9c15-e80591b83894",
    headers: [["x-webhook-secret", "a-static-token"]] },
]);
