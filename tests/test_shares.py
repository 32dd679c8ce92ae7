"""How a cap over several teams is shared out."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.limits import SHARE_SECONDS, Allowance, Claim, share_out

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)

WEIGHTS = st.lists(st.integers(1, 20), min_size=1, max_size=6)


def claims_of(weights: list[int], in_flight: list[int] | None = None) -> list[Claim]:
    out = in_flight or [0] * len(weights)
    return [Claim(team_id=n, weight=weight, in_flight=out[n]) for n, weight in enumerate(weights)]


def room_of(allowance: Allowance) -> int:
    room = allowance.room
    assert room is not None
    return room


def at(deal: int) -> datetime:
    return NOON + timedelta(seconds=deal * SHARE_SECONDS)


@given(weights=WEIGHTS, cap=st.integers(1, 500), deal=st.integers(0, 10_000))
def test_shares_add_up_to_what_is_free(weights: list[int], cap: int, deal: int) -> None:
    allowance = Allowance(key="provider:1", cap=cap, in_flight=0)
    claims = claims_of(weights)
    shares = [
        room_of(share_out(allowance, claims, team_id=n, now=at(deal))) for n in range(len(weights))
    ]
    assert sum(shares) == cap
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - cap * weight / sum(weights)) < 1


@pytest.mark.parametrize("cap", [1, 2, 7])
@pytest.mark.parametrize("weights", [[1, 1], [1, 2], [3, 1, 1], [1, 1, 1, 1, 1]])
def test_over_time_each_gets_what_its_weight_says(weights: list[int], cap: int) -> None:
    allowance = Allowance(key="provider:1", cap=cap, in_flight=0)
    claims, deals = claims_of(weights), 200
    for n, weight in enumerate(weights):
        had = sum(
            room_of(share_out(allowance, claims, team_id=n, now=at(deal))) for deal in range(deals)
        )
        assert had / deals == pytest.approx(cap * weight / sum(weights), abs=0.05)


@given(
    weights=WEIGHTS,
    cap=st.integers(1, 50),
    others=st.integers(0, 60),
    data=st.data(),
)
def test_nobody_gets_more_than_is_free(
    weights: list[int], cap: int, others: int, data: st.DataObject
) -> None:
    out = data.draw(st.lists(st.integers(0, 20), min_size=len(weights), max_size=len(weights)))
    allowance = Allowance(key="provider:1", cap=cap, in_flight=sum(out) + others)
    claims = claims_of(weights, out)
    free = max(0, cap - allowance.in_flight)
    for n in range(len(weights)):
        shared = share_out(allowance, claims, team_id=n, now=NOON)
        assert 0 <= room_of(shared) <= free
        assert (shared.dealt_until is not None) == (room_of(shared) < free)
        if shared.dealt_until is not None:
            assert NOON < shared.dealt_until <= at(1)


def test_lone_team_has_all_of_it() -> None:
    allowance = Allowance(key="provider:1", cap=10, in_flight=4)
    claims = [Claim(team_id=1, weight=1, in_flight=4)]
    assert share_out(allowance, claims, team_id=1, now=NOON) == allowance


def test_what_is_out_for_teams_that_want_no_more_is_nobodys_share() -> None:
    # Six of ten are out for others; the four that are left are two for each.
    allowance = Allowance(key="provider:1", cap=10, in_flight=8)
    claims = [
        Claim(team_id=1, weight=1, in_flight=2),
        Claim(team_id=2, weight=1, in_flight=0),
    ]
    assert room_of(share_out(allowance, claims, team_id=1, now=NOON)) == 0
    assert room_of(share_out(allowance, claims, team_id=2, now=NOON)) == 2
