"""The stand-in engine as somebody's Deployment, quick enough that a whole study of it takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.e2e.support.cluster import Cluster
from tests.e2e.support.command import Point, Ran, Tuner
from tests.e2e.support.deployment import EXAMPLES, Deployed, Document, container, deploy
from tests.e2e.support.ownership import assert_forgotten, assert_untouched, differences
from tuner.store import Store, TrialRecord

Edit = Callable[[Document], None]
OWNER = "helm"
# What the tests are about is the life of a trial, not its figures: one short closed loop each, over one knob. The
# baseline runs one request at a time, so that the other value is better by far, also on a busy machine.
BASELINE_SEQS, WINNER_SEQS = 1, 8
_OTHER_KNOBS = (
    "max_num_batched_tokens",
    "gpu_memory_utilization",
    "enable_prefix_caching",
    "enable_chunked_prefill",
    "block_size",
)
#: Options of a `tuner start` that takes seconds.
STUDY = (
    *("--objective", "throughput", "--concurrency", "8", "--prompt-tokens", "16", "--output-tokens", "2"),
    *("--slo", "error rate <= 50%", "--starts", "6", "--pairs", "2", "--rollout-deadline", "60s"),
    *(part for knob in _OTHER_KNOBS for part in ("--knob", f"{knob}=drop")),
)
#: Nothing to search: the baseline is all that is started.
BASELINE_ALONE = ("--knob", f"max_num_seqs={BASELINE_SEQS}")
#: The baseline, one candidate that is better, and four starts to confirm it; two more, should one be disturbed.
WITH_WINNER = ("--knob", f"max_num_seqs={BASELINE_SEQS},{WINNER_SEQS}", "--smallest-gain", "10%", "--starts", "8")
#: The baseline, and one candidate that meets the SLOs no better.
WITHOUT_WINNER = ("--knob", f"max_num_seqs={BASELINE_SEQS},{WINNER_SEQS}", "--slo", "itl p50 <= 1ms")


def quick(image: str, **environment: str) -> Edit:
    """An edit of manifests/examples/engine-sim.yaml: this image, a start in no time, and more of TUNER_SIM_*."""

    def edit(deployment: Document) -> None:
        main = container(deployment)
        main["image"] = image
        main["args"] = [f"--max-num-seqs={BASELINE_SEQS}" if "num-seqs" in item else item for item in main["args"]]
        variables = {"GPU": "H100", "SPEED": "1", "START_SECONDS": "0.2", **environment}
        # A process that is told to end before it listens to signals has all of this time.
        deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 2
        main["env"] = [{"name": f"TUNER_SIM_{name}", "value": value} for name, value in variables.items()]

    return edit


@dataclass
class Bench:
    """The Deployment that a module's tests share. Each must leave it as it was; where one did not, it is made anew."""

    cluster: Cluster
    engine: Deployed
    original: Document
    edit: Edit

    @property
    def namespace(self) -> str:
        """Where it is."""
        assert self.engine.kubectl.namespace
        return self.engine.kubectl.namespace

    def renew(self) -> None:
        """Make it anew where a test has left it changed, and drop the Lease that a killed process may have left."""
        self.engine.kubectl("delete", "leases", "--all")
        if differences(self.original, self.engine.get()):
            self.engine.kubectl("delete", self.engine.what, "--cascade=foreground", "--timeout=60s")
            self.deploy()

    def deploy(self) -> None:
        """Deploy it and wait until it serves."""
        self.engine = deploy(self.engine.kubectl, EXAMPLES / "engine-sim.yaml", {}, edit=self.edit, manager=OWNER)
        self.engine.wait_until_ready()
        self.original = self.engine.get()

    def leases(self) -> list[str]:
        """The names of the Leases in its namespace."""
        return self.engine.kubectl("get", "leases", "-o", "name").split()

    def replicasets(self) -> list[str]:
        """The names of its ReplicaSets."""
        return sorted(self.engine.kubectl("get", "replicasets", "-o", "name").split())

    def assert_as_it_was(self) -> None:
        """Fail where anything a user wrote or owns differs, or could come to differ by a rollout undo."""
        assert_untouched(self.original, self.engine.get())
        assert_forgotten(self.engine.kubectl.json("get", "replicasets")["items"])

    def arguments(self, tuner: Tuner, *more: str) -> tuple[str, ...]:
        """The arguments of a `tuner start` with a database in the command's own folder."""
        return ("start", "--namespace", self.namespace, "--yes", "--storage", storage(tuner), *STUDY, *more)

    def start(self, tuner: Tuner, *more: str, kill: Point | None = None, **options: Any) -> Ran:
        """Run `tuner start` on it."""
        return tuner.run(*self.arguments(tuner, *more), kill=kill, **options)

    def restore(self, tuner: Tuner, *more: str) -> Ran:
        """Run `tuner restore` on it."""
        return tuner.run("restore", self.engine.name, "--namespace", self.namespace, *more)


@contextmanager
def bench(cluster: Cluster, image: str, **environment: str) -> Iterator[Bench]:
    """A bench in a namespace of its own; `environment` as for `quick`."""
    with cluster.namespace() as kubectl:
        made = Bench(cluster, Deployed(kubectl, "engine-sim"), {}, quick(image, **environment))
        made.deploy()
        yield made


def storage(tuner: Tuner) -> str:
    """The database of the studies that a command runs."""
    return f"sqlite:///{tuner.folder / 'tuner.db'}"


def trials(tuner: Tuner) -> list[TrialRecord]:
    """The trials of the only study there is; none where there is no database or study yet."""
    if not (tuner.folder / "tuner.db").exists():
        return []
    with Store.open(storage(tuner)) as store:
        studies = store.studies()
        assert len(studies) <= 1, [study.name for study in studies]
        return store.trials(studies[0].id) if studies else []
