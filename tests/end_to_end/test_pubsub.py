import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from tests.end_to_end.program import up
from tests.end_to_end.test_up import ask
from tests.google import pubsub
from tests.target import Serve, Target, well_behaved

TOPIC, SUBSCRIPTION = "projects/p/topics/ends", "projects/p/subscriptions/mine"


@pytest.mark.timeout(120)
async def test_an_end_is_published(serve: Callable[[Serve], Awaitable[Target]], tmp_path: Path) -> None:
    """Google's emulator and Google's subscriber: one message, the event as its data, with type, id and task as attributes."""
    target = await serve(well_behaved)
    hook = {"pubsub": {"topic": TOPIC}}
    async with (
        pubsub(tmp_path / "pubsub.log") as address,
        grpc.aio.insecure_channel(address) as channel,
        up(tmp_path / "data", PUBSUB_ENDPOINT=f"http://{address}") as running,
    ):
        publisher = PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channel))
        subscriber = SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel))
        await publisher.create_topic(name=TOPIC)
        await subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC)
        await ask("POST", f"{running.api}/v1/tasks", {"id": "train", "httpRequest": {"url": target.url}, "callback": hook})
        pulled = await subscriber.pull(subscription=SUBSCRIPTION, max_messages=10, timeout=30)
        task = await ask("GET", f"{running.api}/v1/tasks/train")
    (received,) = pulled.received_messages
    event = json.loads(received.message.data)
    assert dict(received.message.attributes) == {"type": "task.succeeded", "id": "train.callback-3", "task": "train"}
    assert (event["type"], event["data"]["task"]["id"], event["data"]["task"]["state"]) == ("task.succeeded", "train", "SUCCEEDED")
    assert [each["event"] for each in task["callbacks"]] == ["succeeded"]
