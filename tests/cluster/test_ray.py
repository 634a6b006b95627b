"""A study on a real Ray with two nodes of different resources: a lost node, a killed study, what never comes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from agent_bench import Cluster, epochs, is_alive, study_text, until
from ray_bench import ENVIRON, RayNodes, ray_cluster

from lightning_hwtune import Nodes, Pool, RayCluster, Study
from lightning_hwtune.core import events as ev
from lightning_hwtune.engine.agents.ray_cluster import RayLauncher, lacking
from lightning_hwtune.engine.executor import Cluster as ClusterProtocol
from lightning_hwtune.engine.executors import maker_of
from lightning_hwtune.errors import ArgumentError, TrialError
from lightning_hwtune.store.files import StudyFiles
from lightning_hwtune.store.log import EventLog

LOST_AFTER_S = "10"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path)
    yield found
    found.close()


@pytest.fixture(scope="module")
def ray(ray_is_there: None) -> Iterator[RayNodes]:
    with ray_cluster("a100", "h100") as nodes:
        yield nodes


def script(cluster: Cluster, name: str, executor: str, pool: str = "") -> str:
    """Writes a script that runs the study under another executor; returns its name."""
    text = study_text(cluster.folder / name)
    text = text.replace('executor="agents"', f"check=False, executor={executor}")
    text = text.replace('hwt.Pool("cpu", devices=1, nodes=2)', pool or 'hwt.Pool("cpu", devices=1, nodes=2)')
    (cluster.folder / f"{name}.py").write_text(text)
    return f"{name}.py"


def values(folder: Path) -> dict[int, Any]:
    state = Study.load("digits", dir=folder).state()
    return {trial.trial_id: [dict(found.values) for found in trial.measurements] for trial in state.trials}


@pytest.mark.training
@pytest.mark.slow
def test_a_study_survives_a_lost_node_and_its_own_death_and_finds_the_values_of_a_local_one(
    cluster: Cluster, ray: RayNodes
) -> None:
    """Two trials on one node each, then one on both."""
    given = {**ENVIRON, "HWTUNE_AGENTS_LOST_AFTER": LOST_AFTER_S}
    local = cluster.start("local", script(cluster, "local", '"local"', 'hwt.Pool("cpu", devices=2)'))
    run = script(cluster, "on_ray", f"hwt.RayCluster(address={ray.address!r})")
    folder = cluster.folder / "on_ray" / "digits"
    folder.mkdir(parents=True)
    (folder / "hold").touch()
    study = cluster.start("run", run, **given)
    until(lambda: all({2} <= {at[1] for at in epochs(folder, trial)} for trial in (0, 1)), "two trials train")
    began = {pid for trial in (0, 1) for *_, pid in epochs(folder, trial)}

    ray.kill("h100")
    until(lambda: sum(map(is_alive, began)) == 1, "the rank on a lost node ends", 40)
    ray.add("more")
    until(lambda: {at[0] for trial in (0, 1) for at in epochs(folder, trial)} == {1, 2}, "its trial continues")

    before = {pid for trial in (0, 1) for *_, pid in epochs(folder, trial)}
    assert sum(map(is_alive, before)) == 2
    study.send_signal(signal.SIGKILL)
    until(lambda: not any(map(is_alive, before)), "all ranks end with the study", 40)
    (folder / "hold").unlink()
    again = cluster.start("run", run, **given)
    assert again.wait(90) == 0, cluster.said("run")
    assert local.wait(60) == 0, cluster.said("local")

    log = [event for _, event in EventLog.open(StudyFiles(folder.parent, "digits"), create=False).read()]
    ended = [event for event in log if isinstance(event, ev.SegmentEnded)]
    assert sorted(event.outcome for event in ended) == ["done"] * 3 + ["interrupted"] * 2 + ["node-lost"]
    state = Study.load("digits", dir=folder.parent).state()
    assert {(str(trial.state), trial.resource, trial.n_retries) for trial in state.trials} == {("completed", 3, 0)}
    assert [segment.world_size for segment in state.segments if segment.outcome == "done"] == [1, 1, 2]
    assert {(rank, node) for _, _, rank, node, _ in epochs(folder, 2)} == {(0, 0), (1, 1)}
    assert values(folder.parent) == values(cluster.folder / "local")


@pytest.mark.training
@pytest.mark.slow
def test_trials_train_on_the_instance_type_whose_resource_in_ray_is_given(cluster: Cluster, ray: RayNodes) -> None:
    """Each type is on one Ray node only, so a study whose agents asked for the same resource would have one node."""
    ray.add("v100", "t4")
    pool = """hwt.Pool(nodes=[
        hwt.Nodes(1, instance=hwt.InstanceType("fast", 9.0, vcpus=1)),
        hwt.Nodes(1, instance=hwt.InstanceType("slow", 1.0, vcpus=1)),
    ])"""
    options = "per_type={'fast': {'v100': 1}, 'slow': {'t4': 1}}"
    name = script(cluster, "two_types", f"hwt.RayCluster(address={ray.address!r}, {options})", pool)
    path = cluster.folder / name
    path.write_text(
        path.read_text().replace("hwt.NumDevices(1, 2)", "hwt.NumDevices(1)").replace("(0.03, 2)", "(0.03, 1)")
    )
    folder = cluster.folder / "two_types" / "digits"
    folder.mkdir(parents=True)
    (folder / "hold").touch()
    study = cluster.start("two_types", name, **ENVIRON)
    until(lambda: all({2} <= {at[1] for at in epochs(folder, trial)} for trial in (0, 1)), "two trials train")
    (folder / "hold").unlink()
    assert study.wait(90) == 0, cluster.said("two_types")
    state = Study.load("digits", dir=folder.parent).state()
    first = {segment.allocation.instance for segment in state.segments if segment.trial_id in (0, 1)}
    assert first == {"fast", "slow"}
    assert {str(trial.state) for trial in state.trials} == {"completed"}


def test_a_pool_of_several_instance_types_needs_a_resource_or_label_of_ray_for_each() -> None:
    pool = Pool(nodes=[Nodes(2, instance="p3.16xlarge"), Nodes(1, instance="g4dn.12xlarge")])
    both = {"p3.16xlarge": {"v100": 1}, "g4dn.12xlarge": {"kind": "T4"}}
    RayCluster(per_type=both).refuse_other_types(pool)
    assert RayCluster(per_node={"x": 2}, labels={"zone": "a"}, per_type=both).needs("g4dn.12xlarge") == (
        {"x": 2}, {"zone": "a", "kind": "T4"},
    )  # fmt: skip
    with pytest.raises(ArgumentError, match=r"per_type.*None.*none for g4dn\.12xlarge, p3\.16xlarge"):
        RayCluster().check_here(pool)
    with pytest.raises(ArgumentError, match=r"none for g4dn\.12xlarge"):
        RayCluster(per_type={"p3.16xlarge": {"v100": 1}}).check_here(pool)
    with pytest.raises(ArgumentError, match=r"p3\.2xlarge.*which has 'g4dn\.12xlarge', 'p3\.16xlarge'"):
        RayCluster(per_type={**both, "p3.2xlarge": {"v100": 1}}).check_here(pool)
    with pytest.raises(ArgumentError, match="which has no instance type"):
        RayCluster(per_type=both).check_here(Pool("gpu", devices=8, nodes=2))


@pytest.mark.slow
def test_what_no_node_has_and_who_may_not_join_is_said(cluster: Cluster, ray: RayNodes) -> None:
    options = f"address={ray.address!r}, per_node={{'tpu': 2}}, timeout=4"
    lacking_node = cluster.start("lacking", script(cluster, "lacking", f"hwt.RayCluster({options})"), **ENVIRON)
    stranger = cluster.start(
        "stranger", script(cluster, "stranger", f"hwt.RayCluster(address={ray.address!r})"),
        **{**ENVIRON, "RAY_AUTH_MODE": "disabled"},
    )  # fmt: skip
    for process in (lacking_node, stranger):
        process.wait(90)
    said = cluster.said("lacking")
    assert "No node of the Ray cluster has CPU=1, tpu=2. Its nodes have: CPU=1, a100=1; CPU=1, " in said
    assert "The study waits 4 s for one, which an autoscaler may start" in said
    assert "no node with 1 free device joined for 4 s" in said
    assert "2 agents of 2 wait in Ray for CPU=1, tpu=2" in said
    assert lacking_node.returncode == 0
    assert f"there is no connection to Ray at {ray.address}" in cluster.said("stranger")
    assert "RAY_AUTH_MODE=token" in cluster.said("stranger")


def test_why_ray_does_not_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")

    def init(**options: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(TrialError, match=r"no connection to Ray on this host: The current node timed out"):
        RayLauncher(RayCluster(), Pool("cpu", devices=1, nodes=2))


def node(labels: dict[str, str] | None = None, **resources: float) -> dict[str, Any]:
    return {"Alive": True, "Resources": {"memory": 1e9, "node:1": 1.0, **resources}, "Labels": labels or {}}


def test_a_cluster_is_compared_with_what_a_node_of_the_study_needs() -> None:
    nodes = [node(CPU=4.0, a100=1.0), node({"kind": "big"}, CPU=8.0), {**node(tpu=1.0, CPU=9.0), "Alive": False}]
    assert lacking({"CPU": 4.0, "a100": 1.0}, {}, nodes) == ""
    assert lacking({"CPU": 8.0}, {"kind": "big"}, nodes) == ""
    assert lacking({"CPU": 8.0}, {"kind": "!small"}, nodes) == ""  # a condition, which Ray decides
    assert lacking({"CPU": 8.0}, {"kind": "small"}, nodes) == (
        "No node of the Ray cluster has CPU=8 and the labels kind=small. Its nodes have: CPU=4, a100=1; CPU=8."
    )
    assert "has CPU=8, a100=1." in lacking({"CPU": 8.0, "a100": 1.0}, {}, nodes)
    assert "has tpu=1." in lacking({"tpu": 1.0}, {}, nodes)
    assert lacking({"CPU": 1.0}, {}, []).endswith("Its nodes have: nothing.")


WRONG_TYPES = (
    {"per_type": {"p3.16xlarge": {}}},
    {"per_type": {"p3.16xlarge": 1}},
    {"per_type": {"p3": {"v100": True}}},
)


def test_a_cluster_is_given_as_an_object_or_as_a_name_with_options() -> None:
    options = {"address": "10.0.0.1:6379", "per_node": {"a100": 1}, "labels": {"kind": "big"}, "timeout": "2min"}
    found = maker_of({"name": "ray", **options})
    assert found == RayCluster(**options)
    assert isinstance(found, ClusterProtocol)
    assert maker_of(found) is found
    with pytest.raises(ArgumentError, match=r"`executor\.adress` is 1.*Did you mean 'address'"):
        maker_of({"name": "ray", "adress": 1})
    with pytest.raises(ArgumentError, match="options only with the name ray"):
        maker_of({"name": "local", "per_node": {}})
    for wrong in ({"per_node": {"a100": 0}}, {"labels": {"kind": 1}}, {"timeout": "soon"}, *WRONG_TYPES):
        with pytest.raises(ArgumentError, match=r"RayCluster\."):
            RayCluster(**wrong)
