"""Staleproof in front of a real Django app: what is wiped is what has changed, and nothing else.

Needs STALEPROOF_BIN, the path of the binary, and an interpreter that has Django.
"""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).parent
SECRET = "whsec_" + base64.b64encode(b"a secret of sufficient length!!!").decode()


def free_ports(count):
    """Ports nobody listens on. All are held until the last is known: asked for one by one, two can be the same."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


def ask(port, method, target, headers=None, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, target, body, {"Host": "shop.test", **(headers or {})})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()
    finally:
        connection.close()


def wait_until_ready(port, process):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"the process ended with {process.returncode}")
        try:
            if ask(port, "GET", "/readyz")[0] == 200:
                return
        except OSError:
            time.sleep(0.02)
    raise AssertionError("not ready in 30 s")


class Case(unittest.TestCase):
    """Each test has an app and a proxy of its own."""

    def setUp(self):
        self.files = tempfile.TemporaryDirectory()
        self.addCleanup(self.files.cleanup)
        self.proxy_port, self.admin_port, self.django_port = free_ports(3)
        hook = f"http://127.0.0.1:{self.admin_port}/hooks/django"
        database = os.path.join(self.files.name, "db.sqlite3")
        app = self.start(
            [sys.executable, str(HERE / "app.py"), str(self.django_port), database, hook, SECRET], stdout=subprocess.PIPE
        )
        self.addCleanup(app.stdout.close)
        app.stdout.readline()  # it listens
        environment = {
            **os.environ,
            "PROXY_PORT": str(self.proxy_port),
            "ADMIN_PORT": str(self.admin_port),
            "DJANGO_PORT": str(self.django_port),
            "WEBHOOK_SECRET": SECRET,
        }
        binary = os.environ["STALEPROOF_BIN"]
        proxy = self.start([binary, "run", "--log", "error", "--config", str(HERE / "proxy.yaml")], env=environment)
        wait_until_ready(self.admin_port, proxy)

    def start(self, command, **options):
        process = subprocess.Popen(command, **options)

        def stop():
            process.terminate()
            process.wait(10)

        self.addCleanup(stop)
        return process

    def get(self, target, language="en"):
        status, headers, body = ask(self.proxy_port, "GET", target, {"Accept-Language": language})
        return status, headers.get("x-cache"), body

    def counts(self):
        return json.loads(ask(self.django_port, "GET", "/_counts")[2])

    def change(self, user, **fields):
        self.assertEqual(ask(self.django_port, "POST", f"/_change/{user}", body=json.dumps(fields))[0], 200)

    def post(self, target, **fields):
        status, _, body = ask(self.django_port, "POST", target, body=json.dumps(fields))
        self.assertEqual(status, 200, body)

    def words(self, *targets):
        """The word of X-Cache, page by page."""
        return [self.get(target)[1] for target in targets]

    def rules(self):
        """What each rule did with the last delivery."""
        body = ask(self.admin_port, "GET", "/v1/deliveries?limit=1", {"Authorization": "Bearer test"})[2]
        return {rule["rule"]: rule for rule in json.loads(body)["deliveries"][0]["rules"]}

    def warm(self, pages):
        for target, language in pages:
            self.get(target, language)
        self.assert_all("HIT", pages)

    def assert_all(self, word, pages):
        for target, language in pages:
            self.assertEqual(self.get(target, language)[1], word, f"{target} in {language}")


ADA = [(f"/users/1{query}", language) for query in ("", "?page=2", "?page=3") for language in ("en", "fr-CH, fr;q=0.9")]
GRACE = [(f"/users/2{query}", language) for query in ("", "?page=2") for language in ("en", "fr")]
LIST = [(f"/users{query}", language) for query in ("", "?page=2") for language in ("en", "fr")]


ONE, TWO, BEST, ADAS = "/articles/ada-1", "/articles/ada-2", "/articles", "/users/1"


class Rules(Case):
    def setUp(self):
        super().setUp()
        self.warm([(target, "en") for target in (ONE, TWO, BEST, ADAS)])

    def test_a_new_slug_wipes_the_page_under_the_old_and_the_new(self):
        self.assertEqual(self.get("/articles/first")[:2], (404, "MISS"))
        self.post("/_edit/ada-1", slug="first")
        self.assertEqual(self.get(ONE)[:2], (404, "MISS"))
        self.assertEqual(self.get("/articles/first")[:2], (200, "MISS"))
        self.assertEqual(self.words(TWO, BEST, ADAS), ["HIT"] * 3)

    def test_a_change_that_nothing_watches_wipes_nothing(self):
        self.post("/_edit/ada-1", views=5)
        self.assertEqual(self.words(ONE, TWO, BEST, ADAS), ["HIT"] * 4)
        self.assertEqual({rule["skipped"] for rule in self.rules().values()}, {"nothing-watched"})

    def test_update_fields_say_what_has_changed(self):
        self.post("/_edit/ada-1?only=views", views=5, title="Not saved")
        self.assertEqual(self.words(ONE, BEST, ADAS), ["HIT"] * 3)
        self.post("/_edit/ada-1?only=title,views", title="Told", views=6)
        self.assertEqual(self.words(ONE, TWO, BEST, ADAS), ["MISS", "HIT", "MISS", "MISS"])

    def test_where_the_sender_does_not_say_what_has_changed_it_fires_or_not_as_the_rule_says(self):
        self.post("/_bulk", slugs=["ada-1"], title="Bulk")
        self.assertEqual(self.words(ONE, TWO, BEST, ADAS), ["MISS", "HIT", "HIT", "MISS"])
        self.assertEqual(self.rules()["the best articles"]["skipped"], "nothing-watched")

    def test_conditions_ask_for_values(self):
        self.post("/_edit/ada-1", rank=50)
        self.assertEqual(self.words(BEST), ["MISS"], "it was among the best")
        self.post("/_edit/ada-1", rank=60)
        self.assertEqual(self.words(BEST), ["HIT"], "it was not and is not")
        self.post("/_edit/ada-2", draft=True)
        self.assertEqual(self.words(BEST), ["HIT"], "a draft")
        self.assertEqual(self.rules()["the best articles"]["skipped"], "condition")

    def test_what_is_created_is_heard_of_by_those_who_ask_for_it(self):
        self.assertEqual(self.get("/articles/new")[:2], (404, "MISS"))
        self.post("/_write", author_id=1, title="New", slug="new", rank=0)
        self.assertEqual(self.get("/articles/new")[:2], (404, "HIT"))
        self.assertEqual(self.rules()["an article's page"]["skipped"], "create")
        self.assertEqual(self.words(BEST, ADAS, ONE), ["MISS", "MISS", "HIT"])

    def test_a_field_that_is_required_and_missing_is_told(self):
        self.post("/_drop/ada-2")
        rules = self.rules()
        self.assertEqual(rules["an author's pages"]["skipped"], {"field-missing": "author"})
        self.assertEqual(rules["a deleted article's author"]["targets"], 1)
        self.assertEqual(self.get(TWO)[0], 404)
        self.assertEqual(self.words(ADAS, ONE), ["MISS", "HIT"])
        metrics = ask(self.admin_port, "GET", "/metrics")[2]
        self.assertIn('rule="an author\'s pages",outcome="skipped"} 1', metrics)

    def test_one_delivery_may_have_many_events(self):
        self.post("/_bulk", slugs=["ada-1", "ada-2"], title="Bulk")
        self.assertEqual(self.words(ONE, TWO), ["MISS", "MISS"])
        self.assertIn("Bulk", self.get(ONE)[2])

    def test_one_event_may_name_many_records(self):
        self.post("/_bulk?ids", slugs=["ada-1", "ada-2"], title="Bulk")
        self.assertEqual(self.words(ONE, TWO, BEST), ["MISS", "MISS", "HIT"])
        self.assertEqual(self.rules()["an article's page"]["targets"], 2)


class Behaviour(Case):
    def test_the_second_view_asks_the_database_nothing(self):
        self.assertEqual(self.get("/users/1"), (200, "MISS", "Hello, Ada <ada@example.com>: Ada 1, Ada 2"))
        before = self.counts()
        self.assertGreater(before["queries"], 0)
        self.assertEqual(self.get("/users/1"), (200, "HIT", "Hello, Ada <ada@example.com>: Ada 1, Ada 2"))
        self.assertEqual(self.counts(), before)

    def test_pages_and_languages_are_kept_apart(self):
        self.assertIn("Ada 3, Ada 4", self.get("/users/1?page=2")[2])
        self.assertIn("Bonjour, Ada", self.get("/users/1", "fr")[2])
        self.assertIn("Hello, Ada", self.get("/users/1")[2])
        self.assertEqual(self.get("/users/1", "en-GB, de;q=0.5")[1], "HIT")

    def test_saving_a_user_wipes_all_of_that_users_pages_and_nobody_elses(self):
        self.warm(ADA + GRACE + LIST)
        self.change(1, email="lovelace@example.com")
        for target, language in ADA:
            status, word, body = self.get(target, language)
            self.assertEqual((status, word), (200, "MISS"), target)
            self.assertIn("lovelace@example.com", body)
        self.assert_all("HIT", GRACE + LIST)

    def test_a_new_name_wipes_the_list_too(self):
        self.warm(ADA + GRACE + LIST)
        self.change(2, name="Admiral Grace")
        self.assert_all("MISS", GRACE + LIST)
        self.assert_all("HIT", ADA)
        self.assertIn("Admiral Grace", self.get("/users")[2])

    def test_a_change_that_no_page_shows_wipes_nothing(self):
        self.warm(ADA + GRACE + LIST)
        self.change(1, last_seen=12345)
        self.assert_all("HIT", ADA + GRACE + LIST)

    def test_a_transaction_that_fails_wipes_nothing(self):
        self.warm(ADA + LIST)
        body = json.dumps({"name": "Augusta"})
        self.assertEqual(ask(self.django_port, "POST", "/_change/1?rollback", body=body)[0], 200)
        self.assert_all("HIT", ADA + LIST)
        self.assertIn("Ada", self.get("/users/1")[2])

    def test_a_new_user_wipes_the_list_and_the_page_that_was_not_there(self):
        self.assertEqual(self.get("/users/4")[:2], (404, "MISS"))
        self.assertEqual(self.get("/users/4")[:2], (404, "HIT"))
        self.warm(ADA + GRACE + LIST)
        body = json.dumps({"name": "Frances", "email": "frances@example.com"})
        self.assertEqual(ask(self.django_port, "POST", "/_create", body=body)[0], 200)
        self.assert_all("HIT", ADA + GRACE)
        self.assertIn("Frances", self.get("/users?page=2")[2])
        self.assertIn("Frances", self.get("/users/4")[2])

    def test_deleting_a_user_wipes(self):
        self.warm(ADA + GRACE + LIST)
        self.assertEqual(ask(self.django_port, "POST", "/_remove/1")[0], 200)
        self.assertEqual(self.get("/users/1")[0], 404)
        self.assert_all("HIT", GRACE)
        self.assertNotIn("Ada", self.get("/users")[2])

    def test_a_forged_webhook_wipes_nothing(self):
        self.warm(ADA)
        event = json.dumps({"type": "user.deleted", "data": {"id": 1, "before": {"name": "Ada"}, "after": None}})
        headers = {
            "webhook-id": "msg_forged",
            "webhook-timestamp": str(int(time.time())),
            "webhook-signature": "v1," + base64.b64encode(b"x" * 32).decode(),
        }
        status, _, body = ask(self.admin_port, "POST", "/hooks/django", headers, event)
        self.assertEqual(status, 401)
        self.assertNotIn("signature", body.lower())
        self.assert_all("HIT", ADA)

    def test_the_app_itself_is_not_reachable_by_its_back_doors(self):
        self.assertEqual(self.get("/_counts")[0], 404)


if __name__ == "__main__":
    unittest.main()
