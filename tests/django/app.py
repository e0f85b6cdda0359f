"""A small real Django app: users and their articles, in sqlite, in two languages, page by page.

It knows nothing of a cache but one thing: when a model has changed and the transaction is committed, it tells
so by a signed webhook (Standard Webhooks: HMAC-SHA256 over id, timestamp and body).

    python app.py PORT DATABASE WEBHOOK_URL WEBHOOK_SECRET
"""

import base64
import hashlib
import hmac
import json
import socketserver
import sys
import threading
import time
import urllib.request
import uuid
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings

PORT, DATABASE, WEBHOOK_URL, WEBHOOK_SECRET = sys.argv[1:5]

settings.configure(
    DEBUG=False,
    SECRET_KEY="for tests only",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes"],
    # The second is in every project that Django starts; it gives responses their Content-Length.
    MIDDLEWARE=[f"{__name__}.count_requests", "django.middleware.common.CommonMiddleware"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)
django.setup()

from django.core.paginator import Paginator  # noqa: E402
from django.db import connection, models, transaction  # noqa: E402
from django.db.models.signals import post_delete, post_init, post_save  # noqa: E402
from django.http import HttpResponse, JsonResponse  # noqa: E402
from django.shortcuts import get_object_or_404  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402


# --- what there is

class User(models.Model):
    name = models.CharField(max_length=100)
    email = models.EmailField()
    last_seen = models.IntegerField(default=0)

    class Meta:
        app_label = "shop"


class Article(models.Model):
    author = models.ForeignKey(User, on_delete=models.CASCADE)
    title = models.CharField(max_length=100)
    slug = models.SlugField()
    rank = models.IntegerField(default=100)
    draft = models.BooleanField(default=False)
    views = models.IntegerField(default=0)

    class Meta:
        app_label = "shop"


# --- telling what has changed

def record(instance):
    # Fields that were not loaded (Django deletes that way) are not loaded for this either.
    deferred = instance.get_deferred_fields()
    names = (field.attname for field in instance._meta.concrete_fields)
    return {name: getattr(instance, name) for name in names if name not in deferred}


def remember(instance, **_):
    instance._before = record(instance) if instance.pk else None


def saved(sender, instance, created, update_fields=None, **_):
    before, after = (None if created else instance._before), record(instance)
    instance._before = after
    if update_fields is None:
        tell(sender, "created" if created else "updated", before, after)
    else:
        # As apps do that do not look at the old values.
        tell_of(sender, "updated", {"id": after["id"], "after": after, "update_fields": sorted(update_fields)})


def deleted(sender, instance, **_):
    tell(sender, "deleted", record(instance), None)


def tell(model, what, before, after):
    known = after or before
    changed = [name for name in known if (before or {}).get(name) != (after or {}).get(name)]
    tell_of(model, what, {"id": known["id"], "before": before, "after": after, "changed": changed})


def tell_of(model, what, data):
    event = event_of(model, what, data)
    # Before the commit nobody else can see the change: a fetch in between would store the old state again.
    transaction.on_commit(lambda: send(event))


def event_of(model, what, data):
    return {"type": f"{model.__name__.lower()}.{what}", "timestamp": time.time(), "data": data}


def send(event):
    """One event, or a list of them."""
    body = json.dumps(event).encode()
    delivery, now = f"msg_{uuid.uuid4().hex}", str(int(time.time()))
    key = base64.b64decode(WEBHOOK_SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, f"{delivery}.{now}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "content-type": "application/json",
        "webhook-id": delivery,
        "webhook-timestamp": now,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
    request = urllib.request.Request(WEBHOOK_URL, data=body, headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.status == 200


for model in (User, Article):
    post_init.connect(remember, sender=model)
    post_save.connect(saved, sender=model)
    post_delete.connect(deleted, sender=model)


# --- the pages

def page_of(request, items, each):
    page = Paginator(items, 2).get_page(request.GET.get("page", 1))
    return [each(item) for item in page.object_list]


def greeting(request):
    return "Bonjour" if request.headers.get("accept-language", "").startswith("fr") else "Hello"


def user_list(request):
    names = page_of(request, User.objects.order_by("id"), lambda user: user.name)
    return HttpResponse(f"{greeting(request)}: {', '.join(names)}")


def user_detail(request, user_id):
    user = get_object_or_404(User, pk=user_id)
    titles = page_of(request, user.article_set.order_by("id"), lambda article: article.title)
    return HttpResponse(f"{greeting(request)}, {user.name} <{user.email}>: {', '.join(titles)}")


def article_list(request):
    titles = Article.objects.filter(draft=False).order_by("rank", "id").values_list("title", flat=True)[:3]
    return HttpResponse(f"The best: {', '.join(titles)}")


def article_detail(request, slug):
    article = get_object_or_404(Article, slug=slug)
    return HttpResponse(f"{article.title}, by {article.author.name}")


# --- behind the scenes; not reachable through the proxy

COUNTS = {"requests": 0, "queries": 0}
LOCK = threading.Lock()


def count_requests(get_response):
    def count(request):
        if request.path.startswith("/_"):
            return get_response(request)
        with LOCK:
            COUNTS["requests"] += 1
        with connection.execute_wrapper(count_query):
            return get_response(request)
    return count


def count_query(execute, *args):
    with LOCK:
        COUNTS["queries"] += 1
    return execute(*args)


def counts(request):
    return JsonResponse(COUNTS)


@csrf_exempt
def change(request, user_id):
    """What an editor does: changes some fields of a user, in a transaction; with ?rollback, one that fails."""
    with transaction.atomic():
        user = get_object_or_404(User, pk=user_id)
        for name, value in json.loads(request.body).items():
            setattr(user, name, value)
        user.save()
        transaction.set_rollback("rollback" in request.GET)
    return JsonResponse(record(user))


@csrf_exempt
def create(request):
    with transaction.atomic():
        user = User.objects.create(**json.loads(request.body))
    return JsonResponse(record(user))


@csrf_exempt
def remove(request, user_id):
    with transaction.atomic():
        user = get_object_or_404(User, pk=user_id)
        user.article_set.all().delete()
        user.delete()
    return JsonResponse({})


@csrf_exempt
def edit(request, slug):
    """Changes an article; with ?only=a,b as `save(update_fields=…)`."""
    with transaction.atomic():
        article = get_object_or_404(Article, slug=slug)
        for name, value in json.loads(request.body).items():
            setattr(article, name, value)
        only = request.GET.get("only")
        article.save(update_fields=only.split(",") if only else None)
    return JsonResponse(record(article))


@csrf_exempt
def write(request):
    return JsonResponse(record(Article.objects.create(**json.loads(request.body))))


@csrf_exempt
def drop(request, slug):
    get_object_or_404(Article, slug=slug).delete()
    return JsonResponse({})


@csrf_exempt
def bulk(request):
    """What sends no signals: `QuerySet.update`. With ?ids told by one event, else by one for each."""
    changes = json.loads(request.body)
    with transaction.atomic():
        articles = Article.objects.filter(slug__in=changes["slugs"])
        if "ids" in request.GET:
            events = event_of(Article, "bulk", {"slugs": changes["slugs"]})
        else:
            events = [event_of(Article, "updated", {"id": article.id, "after": record(article)}) for article in articles]
        articles.update(title=changes["title"])
        transaction.on_commit(lambda: send(events))
    return JsonResponse({})


urlpatterns = [
    path("users", user_list),
    path("users/<int:user_id>", user_detail),
    path("articles", article_list),
    path("articles/<slug:slug>", article_detail),
    path("_edit/<slug:slug>", edit),
    path("_write", write),
    path("_drop/<slug:slug>", drop),
    path("_bulk", bulk),
    path("_counts", counts),
    path("_create", create),
    path("_change/<int:user_id>", change),
    path("_remove/<int:user_id>", remove),
]


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def main():
    from django.core.wsgi import get_wsgi_application

    with connection.schema_editor() as editor:
        editor.create_model(User)
        editor.create_model(Article)
    # The first rows are there before anybody is told of changes.
    users = User.objects.bulk_create(
        User(name=name, email=f"{name.lower()}@example.com") for name in ("Ada", "Grace", "Barbara")
    )
    Article.objects.bulk_create(
        Article(author=user, title=f"{user.name} {number}", slug=f"{user.name.lower()}-{number}", rank=number)
        for user in users
        for number in range(1, 6)
    )
    server = make_server("127.0.0.1", int(PORT), get_wsgi_application(), Server, Quiet)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
