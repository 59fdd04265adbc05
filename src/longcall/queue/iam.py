"""Policies of queues: kept and given back, and obeyed by nobody.

https://cloud.google.com/iam/docs/reference/rest/v1/Policy
"""

import hashlib
from collections.abc import Callable

from google.iam.v1 import policy_pb2

from longcall.queue.errors import Code, RefusedError, invalid
from longcall.queue.messages import Message

_NOBODYS_ETAG = b"\x00\x20\x01"
"""What Google gives with the policy of a resource that was never given one: ACAB in base64."""

_CHANGED_MEANWHILE = "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff."


def shown(stored: bytes | None) -> Message:
    """Return a stored policy with the etag that a change of it must have."""
    policy = policy_pb2.Policy() if stored is None else policy_pb2.Policy.FromString(stored)
    policy.etag = _NOBODYS_ETAG if stored is None else hashlib.sha256(stored).digest()[:8]
    return policy


def changing(given: Message, mask: Message) -> Callable[[bytes | None], bytes]:
    """Return what makes a stored policy the given one. It refuses an etag that is no longer right."""

    def change(stored: bytes | None) -> bytes:
        policy = shown(stored)
        if given.etag and given.etag != policy.etag:
            raise RefusedError(Code.ABORTED, _CHANGED_MEANWHILE)
        _copy(given, policy, mask)
        policy.ClearField("etag")
        return bytes(policy.SerializeToString(deterministic=True))

    return change


def _copy(given: Message, policy: Message, mask: Message) -> None:
    if not mask.paths:
        policy.CopyFrom(given)
        return
    if not mask.IsValidForDescriptor(policy_pb2.Policy.DESCRIPTOR):
        raise invalid(f"The update mask has a path that is no field of a policy: {', '.join(mask.paths)}.")
    mask.MergeMessage(given, policy, replace_message_field=True, replace_repeated_field=True)
