"""What the gateway counts, and how it is shown to Prometheus.

kinds     a gauge, counts by label, durations: plain numbers, summed over processes
counts    `Metrics`: every count of one process, and of the workers it has heard of
census    what is looked up now and then instead of counted: what the store holds, what this server is made of
process   what the system says of a process
families  the table of every metric, and `exposition`, which is what `/metrics` answers

No label ever holds a connection, client, host or path. One holds an app, where somebody has to act on one app: apps are
the operator's files, and after the first `APPS` of them the others share a series. So the number of series is bounded,
whatever is asked of the gateway.
"""

from gateway.metrics.census import Census
from gateway.metrics.counts import Metrics

__all__ = ["Census", "Metrics"]
