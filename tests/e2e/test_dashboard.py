"""The dashboard on the real cluster: it changes a Deployment from a browser, and runs there itself."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from tests.e2e.support.cluster import ROOT, Cluster
from tests.e2e.support.command import Tuner
from tests.e2e.support.deployment import Document, container, deploy
from tests.e2e.support.standin import BASELINE_SEQS, WINNER_SEQS, WITH_WINNER, bench, storage
from tests.support.browser import TOKEN, chromium, opener
from tests.support.dashboard import serving

pytestmark = [pytest.mark.cluster, pytest.mark.browser]
ROLLOUT_MS = 90_000
STUDY_IN_A_POD = (
    *("--simulated", "h100/llama-3.1-8b", "--objective", "throughput", "--concurrency", "8", "--yes"),
    *("--prompt-tokens", "64", "--output-tokens", "16", "--starts", "6", "--pairs", "2"),
)


def test_a_winner_is_approved_applied_and_taken_back(cluster: Cluster, engine_sim_image: str, tmp_path: Path) -> None:
    variables = {
        **os.environ,
        "KUBECONFIG": str(cluster.kubeconfig),
        "PYTHONPATH": str(ROOT),
        "TUNER_DASHBOARD_TOKEN": TOKEN,
    }
    with bench(cluster, engine_sim_image) as made:
        tuner = Tuner(cluster.kubeconfig, tmp_path)
        made.start(tuner, *WITH_WINNER).succeeded()
        arguments = ("--storage", storage(tuner), "--allow", "apply")
        with (
            serving(*arguments, variables=variables) as served,
            chromium() as browser,
            opener(browser)() as page,
        ):
            page.goto(f"{served.url}/studies/1")
            page.get_by_label("Your name").fill("Ada")
            page.get_by_label("Token").fill(TOKEN)
            page.get_by_role("button", name="Sign in").click()
            expect(page.locator("#today")).to_contain_text("The same as measured: the Deployment")
            expect(page.locator("#today")).to_contain_text("Approve it before it can be applied")
            page.get_by_role("button", name="Approve").click()
            page.get_by_role("link", name="Apply it to").click()
            expect(page.locator("pre.diff ins")).to_contain_text([f"--max-num-seqs={WINNER_SEQS}"])
            page.get_by_role("button", name="Apply it now").click()
            expect(page.get_by_role("status")).to_contain_text("Done", timeout=ROLLOUT_MS)
            assert (
                f"--max-num-seqs={WINNER_SEQS}"
                in made.engine.get()["spec"]["template"]["spec"]["containers"][0]["args"]
            )
            page.get_by_role("link", name="Take it back").click()
            expect(page.locator("pre.diff ins")).to_contain_text([f"--max-num-seqs={BASELINE_SEQS}"])
            page.get_by_role("button", name="Take it back now").click()
            expect(page.get_by_role("status")).to_contain_text("Done", timeout=ROLLOUT_MS)
            page.get_by_role("link", name="Back to the study").click()
            decisions = page.locator(".reviews .decision")
            expect(decisions).to_have_text(["undone", "applied", "approved"])
        now, before = made.engine.get(), made.original
        assert now["spec"]["template"]["spec"]["containers"] == before["spec"]["template"]["spec"]["containers"]
        assert made.leases() == []


def test_in_the_cluster_it_reads_for_whoever_has_the_token(cluster: Cluster, tuner_image: str) -> None:
    """The manifest as it is, but for the image, and a database that a study has filled before."""

    def edit(deployment: Document) -> None:
        pod = deployment["spec"]["template"]["spec"]
        dashboard = container(deployment)
        dashboard.update(image=tuner_image, imagePullPolicy="Never")
        study = {**dashboard, "name": "study", "args": ["start", *STUDY_IN_A_POD]}
        pod["initContainers"] = [{name: value for name, value in study.items() if not name.endswith("Probe")}]

    with cluster.namespace() as kubectl:
        kubectl(
            *("create", "secret", "generic", "tuner-dashboard", f"--from-literal=token={TOKEN}"),
            "--from-literal=storage=sqlite:////tmp/tuner.db",
        )
        deployed = deploy(kubectl, ROOT / "manifests" / "dashboard" / "dashboard.yaml", {}, edit=edit)
        deployed.wait_until_ready()
        (pod,) = kubectl.json("get", "pods")["items"]
        address = f"http://{pod['status']['podIP']}:8421"
        with httpx.Client(base_url=address) as client:
            assert client.get("/studies/1").headers["location"].startswith("/sign-in")
            assert client.get("/api/v1/studies").status_code == 401
            allowed = {"Authorization": f"Bearer {TOKEN}"}
            (study,) = client.get("/api/v1/studies", headers=allowed).json()
            assert study["summary"] in client.get("/studies/1", headers=allowed).text
            decision = {"decision": "approved"}
            assert client.post("/api/v1/studies/1/reviews", json=decision, headers=allowed).status_code == 403
