"""The load process as a study uses it, through HttpDriver: `python -m tests.benchmarks.clients.ours JOB`.

Prints the processor seconds of the load process and of its parent, which parses what has arrived.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

from tests.benchmarks.clients.job import MODEL, Job, Told, write
from tuner.core.request import LevelPlan, PlannedRequest, RequestRecord
from tuner.core.workload import Load
from tuner.probe import http_driver

_LONGEST_S = 300.0


async def run(job: Job) -> tuple[RequestRecord, ...]:
    """One level."""
    requests = tuple(
        PlannedRequest(
            index,
            len(text.split()),
            job.tokens,
            arrival_s=job.start_s(index) if job.rate is not None else None,
            text=text,
        )
        for index, text in enumerate(job.prompts())
    )
    load = Load(rate=job.rate) if job.rate is not None else Load(concurrency=job.requests)
    driver = http_driver(job.endpoint, MODEL, counters=lambda _: {})
    try:
        level = await driver.level(LevelPlan(load, requests, (), _LONGEST_S, _LONGEST_S), lambda _: False)
    finally:
        await driver.close()
    return level.records


def main() -> None:
    """Do the job."""
    job = Job.load(sys.argv[1])
    began_s = time.process_time()  # after the imports
    records = asyncio.run(run(job))
    parsing_s = time.process_time() - began_s
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({"load process": children.ru_utime + children.ru_stime, "parent that parses": parsing_s}))
    write(
        job.report,
        [Told(f"r{record.planned.index}", record.sent_s, record.token_s, record.scheduled_s) for record in records],
    )
    failed = [record.error for record in records if record.error is not None]
    if failed:
        sys.exit(f"{len(failed)} of {len(records)} requests failed, one of them: {failed[0]}")


if __name__ == "__main__":
    main()
