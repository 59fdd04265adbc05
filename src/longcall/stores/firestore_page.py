"""A page of tasks out of Firestore, whatever was asked for: what its indexes can't sort out is sorted out here, within bounds."""

from collections.abc import Sequence
from typing import NamedTuple

from google.cloud.firestore_v1.async_collection import AsyncCollectionReference

from longcall.engine.ports import Page, Query
from longcall.stores.firestore_documents import Snapshot, key_of, read_task
from longcall.stores.firestore_query import Term, has_other_range, newest, other_range, terms
from longcall.stores.firestore_reads import Reads
from longcall.stores.paging import Place, place_of, token_of

# So many tasks in a range other than that of lists are read and put in order here. When there are more, the list is gone through in its
# own order, and one request looks at no more than so many tasks, whether or not they fit.
FEW = 500
LOOKED_AT = 2000
STEP = 200


class _Found(NamedTuple):
    place: Place
    document: Snapshot


async def page(reads: Reads, tasks: AsyncCollectionReference, query: Query) -> Page:
    """`Store.page`. A request that has looked at `LOOKED_AT` tasks ends its page there, also a short one; the next one goes on."""
    after, wanted = place_of(query.token), terms(query)
    if wanted is None:
        return Page([])
    few = await _few(reads, tasks, wanted)
    if few is None:
        return await _newest(reads, tasks, wanted, after, query.limit)
    rest = [each for each in few if after is None or each.place < after]
    return _page(sorted(rest, key=lambda each: each.place, reverse=True), query.limit)


async def _few(reads: Reads, tasks: AsyncCollectionReference, wanted: Sequence[Term]) -> Sequence[_Found] | None:
    """What fits, by a range other than that of lists; None without one, or when too many lie in it."""
    if not has_other_range(wanted):
        return None
    query = other_range(tasks, wanted)
    if await reads.count(query.limit(FEW + 1)) > FEW:
        return None
    return _fitting(await reads.all(query), wanted)


async def _newest(reads: Reads, tasks: AsyncCollectionReference, wanted: Sequence[Term], after: Place | None, limit: int) -> Page:
    """A page in the order of lists, in steps while what Firestore can't sort out leaves it short."""
    found: list[_Found] = []
    looked_at, step = 0, limit + 1
    while looked_at < LOOKED_AT:
        seen = await reads.all(newest(tasks, wanted, after).limit(step))
        found += _fitting(seen, wanted)
        if len(found) > limit or len(seen) < step:
            return _page(found, limit)
        after, looked_at, step = _place(seen[-1]), looked_at + len(seen), STEP
    return Page([read_task(each.document) for each in found], token_of(after) if after else "")


def _page(found: Sequence[_Found], limit: int) -> Page:
    tasks = [read_task(each.document) for each in found[:limit]]
    return Page(tasks, token_of(found[limit - 1].place) if len(found) > limit else "")


def _fitting(documents: Sequence[Snapshot], wanted: Sequence[Term]) -> list[_Found]:
    found = ((document, document.to_dict() or {}) for document in documents)
    return [_Found(_place(document), document) for document, fields in found if all(term.holds(fields) for term in wanted)]


def _place(document: Snapshot) -> Place:
    return Place(document.get("createTime"), key_of(document.id))
