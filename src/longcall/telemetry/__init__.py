"""What Longcall tells of itself: logs, spans, metrics. What needs OpenTelemetry or prometheus-client is loaded where it is used."""

from longcall.telemetry.logs import google, set_up_logs, set_up_silence

__all__ = ["google", "set_up_logs", "set_up_silence"]
