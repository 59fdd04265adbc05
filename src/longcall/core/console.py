"""Where the console of Google Cloud shows what Longcall logged."""

from datetime import datetime, timedelta
from urllib.parse import quote

from longcall.core.text import time_text

CONSOLE = "https://console.cloud.google.com"
_AROUND = timedelta(minutes=5)


def logs_url(project: str, task_id: str, start: datetime, end: datetime) -> str:
    """Every line about a task in Cloud Logging, from its creation to its end, and a little around."""
    first, last = time_text(start - _AROUND), time_text(end + _AROUND)
    asked = f'logName:"longcall" AND operation.id="{task_id}" AND timestamp>="{first}" AND timestamp<="{last}"'
    return f"{CONSOLE}/logs/query;query={quote(asked, safe='')}?project={quote(project)}"
