"""The client of `vllm bench serve`: `python -m tests.benchmarks.clients.vllm_bench JOB`, with vLLM's own Python.

Its request function on a session that is set up as `vllm.benchmarks.serve.benchmark` does it; of that, only the
progress bar and the summing-up are left out.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time

import aiohttp
from vllm.benchmarks.lib.endpoint_request_func import (
    RequestFuncInput,
    RequestFuncOutput,
    async_request_openai_completions,
)

from tests.benchmarks.clients.job import MODEL, PATH, Job, Told, write


async def run(job: Job) -> list[RequestFuncOutput]:
    """All requests."""
    limit = 0 if job.rate is not None else job.requests
    connector = aiohttp.TCPConnector(
        limit=limit,
        limit_per_host=limit,
        ttl_dns_cache=300,
        keepalive_timeout=60,
        enable_cleanup_closed=True,
        ssl=False,
    )
    timeout = aiohttp.ClientTimeout(total=6 * 60 * 60)
    async with aiohttp.ClientSession(connector=connector, trust_env=True, timeout=timeout) as session:
        tasks = []
        begin_s = asyncio.get_running_loop().time()
        for index, prompt in enumerate(job.prompts()):
            delay_s = begin_s + job.start_s(index) - asyncio.get_running_loop().time()
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            asked = RequestFuncInput(
                prompt=prompt,
                api_url=job.endpoint + PATH,
                prompt_len=len(prompt.split()),
                output_len=job.tokens,
                model=MODEL,
                ignore_eos=True,
            )
            tasks.append(asyncio.create_task(async_request_openai_completions(asked, session)))
        return await asyncio.gather(*tasks)


def told(index: int, output: RequestFuncOutput) -> Told:
    """What it reports of a request."""
    first_s = output.start_time + output.ttft
    return Told(f"r{index}", output.start_time, tuple(itertools.accumulate(output.itl, initial=first_s)))


def main() -> None:
    """Do the job."""
    job = Job.load(sys.argv[1])
    began_s = time.process_time()  # after the imports, which take seconds, and never the same
    outputs = asyncio.run(run(job))
    print(json.dumps({"client": time.process_time() - began_s}))
    write(job.report, [told(index, output) for index, output in enumerate(outputs)])
    failed = [output.error for output in outputs if not output.success]
    if failed:
        sys.exit(f"{len(failed)} of {len(outputs)} requests failed, one of them: {failed[0]}")


if __name__ == "__main__":
    main()
