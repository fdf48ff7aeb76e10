from __future__ import annotations

import pytest

from tuner.core.measurement import Answer, Level, Timeline
from tuner.core.workload import Load
from tuner.dashboard.pictures.running import running


def _level(bins: int) -> Level:
    counts = (1,) * bins
    time = Timeline(
        bin_s=1.0,
        sent=counts,
        ended=counts,
        failed=(0,) * bins,
        output_tokens=(64,) * bins,
        in_flight=(2.0,) * bins,
        server_running=(1.0, None) * (bins // 2),
        kv_usage=(0.25,) * bins,
        ttft_s=(0.03,) * bins,
    )
    return Level(Load(rate=1.0), Answer.PASS, (), float(bins), bins, {}, 1.0, 64.0, 80.0, {}, timeline=time)


@pytest.mark.parametrize("bins", [2, 60, 61 * 2, 600, 3600])
def test_every_picture_has_its_numbers_in_a_table_that_can_be_read(bins: int) -> None:
    found = {picture.name: picture for picture in running(_level(bins))}
    assert set(found) == {"requests", "kv", "tokens", "ttft-time"}
    for picture in found.values():
        assert 0 < len(picture.rows) <= 60
        assert all(len(row) == len(picture.columns) for row in picture.rows)
    assert found["requests"].columns == ("seconds", "sent and not ended", "running")
    assert found["requests"].rows[0] == ("0.5", "2.000", "1.000")
    assert found["kv"].rows[0] == ("0.5", "25.0%")
    assert found["ttft-time"].rows[0] == ("0.5", "30 ms")


def test_what_the_engine_did_not_show_is_a_dash() -> None:
    (picture, *_) = running(_level(4))
    assert picture.rows[1] == ("1.5", "2.000", "—")


def test_without_a_timeline_there_is_nothing() -> None:
    assert list(running(None)) == []
