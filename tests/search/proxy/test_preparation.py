from __future__ import annotations

from dataclasses import replace

import pytest

from mnasfpn.errors import InvalidInput
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.search.proxy.preparation import prepare_proxy
from mnasfpn.tests.search.proxy.tiny_proxy import GENOTYPE, SETTINGS

pytest.importorskip("torch")


def test_progress_tells_the_backbones_steps_then_the_images(dataset, tmp_path):
    heard = []
    prepare_proxy(dataset, tmp_path / "new", SETTINGS, progress=lambda *told: heard.append(told))
    assert heard == [
        *((step, 3, "teaching the backbone") for step in (1, 2, 3)),
        (6, 6, "storing features"),
        (3, 3, "storing features"),
    ]


def test_a_prepared_task_is_opened_not_made_again(task, dataset):
    def fail(done, total, what):
        pytest.fail(f"{what} must not run again")

    again = prepare_proxy(dataset, task.folder, SETTINGS, progress=fail)
    assert again.train_and_score(GENOTYPE, 5).losses == task.train_and_score(GENOTYPE, 5).losses


def test_a_task_of_other_settings_or_data_is_refused(task, dataset, tmp_path):
    with pytest.raises(InvalidInput, match="other settings"):
        prepare_proxy(dataset, task.folder, replace(SETTINGS, steps=5))
    other = write_digits(
        tmp_path / "other", DigitsSettings(train=6, validation=3, size=64, smallest=0.3, seed=9)
    )
    with pytest.raises(InvalidInput, match="other data"):
        prepare_proxy(other, task.folder, SETTINGS)


def test_a_folder_of_something_else_is_refused(dataset, tmp_path):
    (tmp_path / "proxy").mkdir()
    with pytest.raises(InvalidInput, match="not a prepared proxy task"):
        prepare_proxy(dataset, tmp_path / "proxy", SETTINGS)


def test_an_interrupt_leaves_nothing_behind(dataset, tmp_path):
    def stop(done, total, what):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_proxy(dataset, tmp_path / "proxy", SETTINGS, progress=stop)
    assert list(tmp_path.iterdir()) == []
