"""A receiver of callbacks with Django, in one file.

pip install django uvicorn longcall
WEBHOOK_SECRET=whsec_… uvicorn receiver_django:app
"""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from longcall import webhooks

SECRET = os.environ["WEBHOOK_SECRET"]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1", "localhost"])  # yours are in settings.py
done: set[str] = set()  # yours is a table: a callback may come twice, and its id is then the same


@csrf_exempt  # the signature says who sends it; no browser does
@require_POST
def hook(request: HttpRequest) -> HttpResponse:
    """Act on the end of a task, once."""
    try:
        event = webhooks.verify(request.headers, request.body, SECRET)
    except webhooks.BadSignatureError as error:
        return HttpResponse(str(error), status=401)
    if event.id not in done:
        done.add(event.id)
        print(event.type, event.task.id, event.task.state)
    return JsonResponse({"seen": event.id})


urlpatterns = [path("hook", hook)]
app = get_asgi_application()
