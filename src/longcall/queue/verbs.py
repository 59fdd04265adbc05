"""The calls of Cloud Tasks, message in, message out. Both faces serve these tables."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from google.cloud import tasks_v2
from google.cloud.location import locations_pb2
from google.iam.v1 import iam_policy_pb2
from google.protobuf import field_mask_pb2
from google.protobuf.empty_pb2 import Empty

from longcall.queue import convert, iam, messages, names
from longcall.queue.errors import invalid, unimplemented
from longcall.queue.messages import Message
from longcall.queue.model import Queue, QueueConfig
from longcall.queue.service import QueueService

_LIST_QUEUES: Message = tasks_v2.ListQueuesResponse.pb()
_LIST_TASKS: Message = tasks_v2.ListTasksResponse.pb()
_READ_ONLY = ("name", "state", "purge_time")


@dataclass(frozen=True, slots=True)
class Verb:
    """One call: its request's message class, and what it does."""

    request: Message
    run: Callable[[QueueService, Message], Awaitable[Message]]


async def _create_queue(service: QueueService, request: Message) -> Message:
    return messages.queue_message(await service.create_queue(request.parent, convert.config(request.queue)))


async def _get_queue(service: QueueService, request: Message) -> Message:
    return messages.queue_message(service.get_queue(request.name))


async def _list_queues(service: QueueService, request: Message) -> Message:
    if request.filter:
        raise unimplemented("filters of queues")
    page = service.list_queues(request.parent, request.page_token, request.page_size)
    following = page.queues[-1].config.name if page.more else ""
    return _LIST_QUEUES(queues=map(messages.queue_message, page.queues), next_page_token=following)


async def _update_queue(service: QueueService, request: Message) -> Message:
    def config(present: Queue | None) -> QueueConfig:
        return convert.config(_merged(present, request.queue, request.update_mask))

    return messages.queue_message(await service.update_queue(request.queue.name, config))


def _merged(present: Queue | None, update: Message, mask: field_mask_pb2.FieldMask) -> Message:
    wanted = field_mask_pb2.FieldMask(paths=[path for path in mask.paths if path not in _READ_ONLY])
    if not wanted.IsValidForDescriptor(messages.QUEUE.DESCRIPTOR):
        raise invalid(f"The update mask has a path that is no field of a queue: {', '.join(mask.paths)}.")
    if present is None or not mask.paths:
        return update
    merged = messages.queue_message(present)
    wanted.MergeMessage(update, merged, replace_message_field=True, replace_repeated_field=True)
    return merged


async def _delete_queue(service: QueueService, request: Message) -> Message:
    await service.delete_queue(request.name)
    return Empty()


async def _purge_queue(service: QueueService, request: Message) -> Message:
    return messages.queue_message(await service.purge_queue(request.name))


async def _pause_queue(service: QueueService, request: Message) -> Message:
    return messages.queue_message(await service.pause_queue(request.name, paused=True))


async def _resume_queue(service: QueueService, request: Message) -> Message:
    return messages.queue_message(await service.pause_queue(request.name, paused=False))


async def _list_tasks(service: QueueService, request: Message) -> Message:
    page = await service.list_tasks(request.parent, request.page_token, request.page_size)
    tasks = [messages.task_message(task, request.response_view) for task in page.tasks]
    return _LIST_TASKS(tasks=tasks, next_page_token=page.tasks[-1].id if page.more else "")


async def _get_task(service: QueueService, request: Message) -> Message:
    return messages.task_message(await service.get_task(request.name), request.response_view)


async def _create_task(service: QueueService, request: Message) -> Message:
    task = await service.create_task(request.parent, convert.draft(request.task))
    return messages.task_message(task, request.response_view)


async def _delete_task(service: QueueService, request: Message) -> Message:
    await service.delete_task(request.name)
    return Empty()


async def _run_task(service: QueueService, request: Message) -> Message:
    return messages.task_message(await service.run_task(request.name), request.response_view)


async def _get_iam_policy(service: QueueService, request: Message) -> Message:
    return iam.shown(await service.get_policy(request.resource))


async def _set_iam_policy(service: QueueService, request: Message) -> Message:
    return iam.shown(await service.set_policy(request.resource, iam.changing(request.policy, request.update_mask)))


async def _test_iam_permissions(service: QueueService, request: Message) -> Message:
    permissions = request.permissions if service.has_queue(request.resource) else ()
    return iam_policy_pb2.TestIamPermissionsResponse(permissions=permissions)


async def _list_locations(service: QueueService, request: Message) -> Message:
    found = [_location(name) for name in service.list_locations(request.name)]
    return locations_pb2.ListLocationsResponse(locations=found)


async def _get_location(_service: QueueService, request: Message) -> Message:
    return _location(names.check_location(request.name))


def _location(name: str) -> Message:
    return locations_pb2.Location(name=name, location_id=name.rpartition("/")[2])


def _unimplemented(request: Message, name: str) -> Verb:
    async def refuse(_service: QueueService, _request: Message) -> Message:
        raise unimplemented(name)

    return Verb(request, refuse)


VERBS = {
    "CreateQueue": Verb(tasks_v2.CreateQueueRequest.pb(), _create_queue),
    "GetQueue": Verb(tasks_v2.GetQueueRequest.pb(), _get_queue),
    "ListQueues": Verb(tasks_v2.ListQueuesRequest.pb(), _list_queues),
    "UpdateQueue": Verb(tasks_v2.UpdateQueueRequest.pb(), _update_queue),
    "DeleteQueue": Verb(tasks_v2.DeleteQueueRequest.pb(), _delete_queue),
    "PurgeQueue": Verb(tasks_v2.PurgeQueueRequest.pb(), _purge_queue),
    "PauseQueue": Verb(tasks_v2.PauseQueueRequest.pb(), _pause_queue),
    "ResumeQueue": Verb(tasks_v2.ResumeQueueRequest.pb(), _resume_queue),
    "ListTasks": Verb(tasks_v2.ListTasksRequest.pb(), _list_tasks),
    "GetTask": Verb(tasks_v2.GetTaskRequest.pb(), _get_task),
    "CreateTask": Verb(tasks_v2.CreateTaskRequest.pb(), _create_task),
    "DeleteTask": Verb(tasks_v2.DeleteTaskRequest.pb(), _delete_task),
    "RunTask": Verb(tasks_v2.RunTaskRequest.pb(), _run_task),
    "GetIamPolicy": Verb(iam_policy_pb2.GetIamPolicyRequest, _get_iam_policy),
    "SetIamPolicy": Verb(iam_policy_pb2.SetIamPolicyRequest, _set_iam_policy),
    "TestIamPermissions": Verb(iam_policy_pb2.TestIamPermissionsRequest, _test_iam_permissions),
    "BatchCreateTasks": _unimplemented(tasks_v2.BatchCreateTasksRequest.pb(), "BatchCreateTasks"),
    "BatchDeleteTasks": _unimplemented(tasks_v2.BatchDeleteTasksRequest.pb(), "BatchDeleteTasks"),
    "GetCmekConfig": _unimplemented(tasks_v2.GetCmekConfigRequest.pb(), "GetCmekConfig"),
    "UpdateCmekConfig": _unimplemented(tasks_v2.UpdateCmekConfigRequest.pb(), "UpdateCmekConfig"),
}
"""google.cloud.tasks.v2.CloudTasks."""

LOCATION_VERBS = {
    "ListLocations": Verb(locations_pb2.ListLocationsRequest, _list_locations),
    "GetLocation": Verb(locations_pb2.GetLocationRequest, _get_location),
}
"""google.cloud.location.Locations."""

REST_VERBS = {
    **VERBS,
    **LOCATION_VERBS,
    "BufferTask": _unimplemented(Empty, "BufferTask"),
}
"""What the REST face has: both, and what only REST has."""
