"""What cut a call: the limits that hosts and networks on the way are known to have, by how long the call had been open.

Sources: the vendors' own pages on request time-outs and idle connections, as gathered in docs/limits.md.
"""

from datetime import timedelta

KNOWN = (
    (60, "the idle limit of many load balancers and proxies, and the default limit of a Cloud Function"),
    (100, "Cloudflare's limit"),
    (240, "Azure's idle limit on the way"),
    (300, "the default limit of a Cloud Run service"),
    (350, "an idle limit of AWS on the way"),
    (540, "the limit of a first-generation Cloud Function"),
    (600, "an idle limit of a VPC on the way, or App Engine's limit on automatic scaling"),
    (1800, "Cloud Tasks' limit for HTTP targets"),
    (3600, "the longest limit of a Cloud Run service or a second-generation Cloud Function"),
)
EARLY, LATE, LATE_PART = 1.0, 3.0, 0.02  # seconds, seconds, and as a part of the limit: clocks start at different moments


def looks_like(open_for: timedelta) -> str | None:
    """Say which known limit a call met that was open for so long; None when it met none."""
    seconds = open_for.total_seconds()
    for limit, whose in KNOWN:
        if limit - EARLY <= seconds <= limit + max(LATE, limit * LATE_PART):
            return f"cut after about {limit} s: this looks like {whose}"
    return None
