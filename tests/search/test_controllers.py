"""What all controllers promise, and that learning pays."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasfpn.errors import InvalidInput
from mnasfpn.models.decisions import Choices, Decision, Decisions
from mnasfpn.search.controllers.base import Controller, ControllerState, generator_from
from mnasfpn.search.controllers.registry import CONTROLLERS, candidates, create_controller
from mnasfpn.search.search_space import SPACES, search_space

CONN_SEARCH = search_space("conn-search").decisions
#: In-degree, ordered inputs without replacement, and a kernel: 78 candidates.
SMALL = Decisions(
    (
        Decision("degree", (1, 2)),
        Decision("input0", (0, 1, 2, 3)),
        Decision("input1", (0, 1, 2, 3), (1,), (0, 1)),
        Decision("kernel", (3, 5, 7)),
    )
)
QUICK = {
    "ppo": {"batch": 4, "epochs": 2, "hidden": 8, "embedding": 4},
    "evolution": {"population": 6, "tournament": 3, "batch": 3},
    "random": {"batch": 5},
}


def quick(name: str, decisions: Decisions = SMALL, seed: int = 0) -> Controller:
    return create_controller(name, decisions, seed, QUICK[name])


def made_up_reward(choices: Choices) -> float:
    return float(sum((i + 1) * choice for i, choice in enumerate(choices)))


def run(controller: Controller, count: int) -> list[Choices]:
    seen = []
    for candidate, feedback in candidates(controller, count):
        seen.append(candidate)
        feedback(made_up_reward(candidate))
    return seen


@pytest.mark.parametrize("name", CONTROLLERS)
def test_the_same_seed_gives_the_same_search(name: str) -> None:
    assert run(quick(name, seed=3), 30) == run(quick(name, seed=3), 30)
    assert run(quick(name, seed=3), 30) != run(quick(name, seed=4), 30)


@pytest.mark.parametrize("name", CONTROLLERS)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 25))
@settings(max_examples=10, deadline=None)
def test_every_proposal_is_a_candidate(name: str, seed: int, count: int) -> None:
    for decisions in (SMALL, CONN_SEARCH):
        proposed = run(quick(name, decisions, seed), count)
        assert len(proposed) == count
        for choices in proposed:
            decisions.check(choices)


@pytest.mark.parametrize("name", SPACES)
def test_ppo_proposes_cells_of_every_space(name: str) -> None:
    space = search_space(name)
    for choices in run(quick("ppo", space.decisions), 12):
        assert space.encode(space.decode(choices)) == choices


@pytest.mark.parametrize("name", CONTROLLERS)
@pytest.mark.parametrize("before", [0, 1, 5, 11])
def test_a_restored_controller_goes_on_as_if_it_had_never_stopped(name: str, before: int) -> None:
    """The snapshot is taken with proposals out and some of the rewards known."""
    one = quick(name)
    run(one, before)
    waiting = one.propose(3)
    one.feedback(waiting[0], 1.5)
    other = quick(name, seed=99)
    other.restore(ControllerState.from_bytes(one.state().to_bytes()))
    for controller in (one, other):
        controller.feedback(waiting[2], 0.5)
        controller.feedback(waiting[1], None)
    assert run(one, 20) == run(other, 20)
    assert one.state().to_bytes() == other.state().to_bytes()


@pytest.mark.parametrize("name", CONTROLLERS)
def test_state_is_plain_json_and_arrays(name: str) -> None:
    controller = quick(name)
    run(controller, 9)
    state = controller.state()
    json.dumps(state.values)
    assert all(array.dtype.kind in "fiu" for array in state.arrays.values())


def test_damaged_state_is_refused() -> None:
    data = quick("ppo").state().to_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 0xFF
    for damaged in (b"", b"PK", data[: len(data) // 2], bytes(flipped)):
        with pytest.raises(InvalidInput, match="stored controller state cannot be read"):
            ControllerState.from_bytes(damaged)


def test_a_pickle_in_the_place_of_a_state_is_not_run(tmp_path: object) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (pytest.fail, ("a pickle was run",))

    with pytest.raises(InvalidInput, match="cannot be read"):
        ControllerState.from_bytes(pickle.dumps(Bomb()))


def test_state_of_another_controller_or_shape_is_refused() -> None:
    with pytest.raises(InvalidInput, match="expected the state of 'random', got that of 'ppo'"):
        quick("random").restore(quick("ppo").state())
    with pytest.raises(InvalidInput, match="does not fit"):
        create_controller("ppo", SMALL, 0).restore(quick("ppo").state())
    with pytest.raises(InvalidInput, match="random generator state is damaged"):
        generator_from({"bit_generator": "PCG64"})


def test_other_schemas_are_refused() -> None:
    state = ControllerState("random", {}, {})
    archive = state.to_bytes().replace(b'{"schema": 1', b'{"schema": 9')
    if archive == state.to_bytes():  # the header is compressed
        import io

        text = json.dumps({"schema": 9, "controller": "random", "values": {}}).encode()
        buffer = io.BytesIO()
        np.savez(buffer, **{"/header": np.frombuffer(text, np.uint8)})
        archive = buffer.getvalue()
    with pytest.raises(InvalidInput, match="has schema 9, expected 1"):
        ControllerState.from_bytes(archive)


@pytest.mark.parametrize(
    ("name", "settings_", "message"),
    [
        ("dqn", {}, "no controller is called 'dqn'; known: ppo, evolution, random"),
        ("ppo", {"bach": 3}, "bach"),
        ("ppo", {"clip": 0.0}, "clip must be positive, got 0.0"),
        ("ppo", {"epochs": 0}, "epochs must be at least 1"),
        ("ppo", {"baseline_decay": 1.0}, "baseline_decay"),
        ("ppo", {"entropy_weight": -1.0}, "entropy_weight"),
        ("evolution", {"tournament": 99}, "needs a population at least as large, got 64"),
        ("evolution", {"mutations": 0}, "mutations must be at least 1"),
        ("random", {"batch": 0}, "at least 1 candidate"),
    ],
)
def test_impossible_settings_are_named(
    name: str, settings_: dict[str, float], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        create_controller(name, SMALL, 0, settings_)


def test_failed_candidates_teach_nothing() -> None:
    for name in ("ppo", "evolution"):
        taught, untaught = quick(name), quick(name)
        for controller, failures in ((taught, 8), (untaught, 0)):
            batch = controller.propose(8)
            for candidate in batch[:failures]:
                controller.feedback(candidate, None)
        if name == "ppo":  # the policy has not moved
            for one, other in zip(
                taught.policy.parameters().values(),  # type: ignore[attr-defined]
                untaught.policy.parameters().values(),  # type: ignore[attr-defined]
                strict=True,
            ):
                assert (one == other).all()
        else:
            assert taught.state().values["alive"] == []


def test_evolution_forgets_the_oldest_and_mutates_the_best() -> None:
    controller = create_controller(
        "evolution", SMALL, 0, {"population": 3, "tournament": 3, "mutations": 1, "batch": 1}
    )
    rewards = [9.0, 1.0, 2.0, 3.0]
    for reward in rewards:
        (candidate,) = controller.propose(1)
        controller.feedback(candidate, reward)
    alive = controller.state().values["alive"]
    assert [reward for _, reward in alive] == [1.0, 2.0, 3.0]  # 9.0 died of age
    best = alive[-1][0]
    (child,) = controller.propose(1)
    assert child != tuple(best)
    assert sum(a != b for a, b in zip(child, best, strict=True)) <= 2  # one, and its repair


def landscape(decisions: Decisions, seed: int) -> tuple[np.ndarray, float]:
    """A value for each option of each decision, and the best sum of free choices."""
    rng = np.random.default_rng(seed)
    sizes = [len(decision.options) for decision in decisions]
    weights = [rng.normal(size=size) for size in sizes]
    return np.concatenate(weights), float(sum(weight.max() for weight in weights))


@pytest.mark.parametrize(
    ("name", "adapted"),
    [("ppo", {}), ("evolution", {"population": 16, "tournament": 8, "mutations": 1})],
)
def test_the_known_optimum_of_a_small_space_is_found(name: str, adapted: dict[str, float]) -> None:
    optimum = max(made_up_reward(choices) for choices in SMALL.enumerate())
    controller = create_controller(name, SMALL, 0, adapted)
    last = [made_up_reward(choices) for choices in run(controller, 240)][-50:]
    assert max(last) == optimum
    uniform = [made_up_reward(choices) for choices in SMALL.enumerate()]
    assert np.mean(last) > np.mean(uniform) + 2 * np.std(uniform) / np.sqrt(len(last))


@pytest.mark.slow
def test_ppo_beats_random_search_on_the_whole_mnasfpn_space() -> None:
    """A sum over decisions of 1e35 cells, 128 samples, 5 seeds: the end of every run and the best
    of every run are better than random search's."""
    from scipy.stats import mannwhitneyu

    decisions = search_space("mnasfpn").decisions
    last: dict[str, list[float]] = {"ppo": [], "random": []}
    best: dict[str, list[float]] = {"ppo": [], "random": []}
    for seed in range(5):
        weights, optimum = landscape(decisions, seed)
        for name in last:
            rewards = []
            for candidate, feedback in candidates(create_controller(name, decisions, seed), 128):
                reward = float(decisions.one_hot([candidate])[0] @ weights) / optimum
                rewards.append(reward)
                feedback(reward)
            last[name].append(float(np.mean(rewards[-32:])))
            best[name].append(max(rewards))
    for outcome in (last, best):
        assert mannwhitneyu(outcome["ppo"], outcome["random"], alternative="greater").pvalue < 0.01
    assert np.mean(last["ppo"]) > 0.3 > 0.1 > np.mean(last["random"])
