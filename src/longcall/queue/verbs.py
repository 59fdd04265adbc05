"""The calls of the service google.cloud.tasks.v2.CloudTasks: message in, message out. Both faces serve this table."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from google.cloud import tasks_v2
from google.protobuf import field_mask_pb2
from google.protobuf.empty_pb2 import Empty

from longcall.queue import convert, messages
from longcall.queue.errors import Code, RefusedError, invalid
from longcall.queue.messages import Message
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
        raise RefusedError(Code.UNIMPLEMENTED, "The embedded queue does not filter queues.")
    page = service.list_queues(request.parent, request.page_token, request.page_size)
    following = page.queues[-1].config.name if page.more else ""
    return _LIST_QUEUES(queues=map(messages.queue_message, page.queues), next_page_token=following)


async def _update_queue(service: QueueService, request: Message) -> Message:
    config = convert.config(_merged(service, request.queue, request.update_mask))
    return messages.queue_message(await service.update_queue(config))


def _merged(service: QueueService, update: Message, mask: field_mask_pb2.FieldMask) -> Message:
    if not mask.paths:
        return update
    try:
        present = messages.queue_message(service.get_queue(update.name))
    except RefusedError as refusal:
        if refusal.code is not Code.NOT_FOUND:
            raise
        return update
    wanted = field_mask_pb2.FieldMask(paths=[path for path in mask.paths if path not in _READ_ONLY])
    if not wanted.IsValidForDescriptor(messages.QUEUE.DESCRIPTOR):
        raise invalid(f"The update mask has a path that is no field of a queue: {', '.join(mask.paths)}.")
    wanted.MergeMessage(update, present, replace_message_field=True, replace_repeated_field=True)
    return present


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
}
