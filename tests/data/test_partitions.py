"""Keys and ticks: the newest partition that began before a moment, and the first key from a moment on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.support import flights

from updraft.data.partitions import first_key_from, last_begun, partitions


@pytest.mark.parametrize("schedule", ["0 5 * * 1", "0 * * * *", "30 */6 * * *", "0 0 1 * *"])
def test_a_partition_began_before_a_moment_just_when_its_key_is_not_after_the_last_one_that_did(schedule):
    spec = flights.flights().spec
    spec = spec.model_copy(update={"data": spec.data.model_copy(update={"schedule": schedule})})
    listed = list(partitions(spec, datetime(2013, 3, 1, tzinfo=UTC)))
    moments = [
        listed[-1].start + timedelta(**away) for away in ({}, {"seconds": 1}, {"microseconds": 1}, {"hours": -7})
    ]
    moments += [datetime(2013, 2, 11, 5, tzinfo=UTC), datetime(2013, 2, 11, 4, 59, 59, 999999, tzinfo=UTC)]
    for moment in moments:
        last = last_begun(spec, moment).key
        assert [one.key for one in listed if one.start < moment] == [one.key for one in listed if one.key <= last]
        first = first_key_from(moment)
        assert [one.key for one in listed if one.tick >= moment] == [one.key for one in listed if one.key >= first]
