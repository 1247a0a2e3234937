"""Sharing pairs out over processes."""

from __future__ import annotations

from itertools import chain

from hypothesis import example, given
from hypothesis import strategies as st

from util.ranks import World
from util.run.shares import share_out

costs = st.lists(st.integers(1, 100), max_size=30)


@given(costs, st.integers(1, 8))
@example([1] * 6, 5)  # the mean alone is no bound
def test_everything_is_in_one_share_and_the_shares_are_fair(costs: list[int], count: int):
    items = list(range(len(costs)))
    shares = share_out(items, costs, count)
    assert len(shares) == count and sorted(chain.from_iterable(shares)) == items
    assert all(share == sorted(share) for share in shares)
    largest = max(sum(costs[index] for index in share) for share in shares)
    # no sharing can do better: two of the count + 1 dearest items share, and cost twice the least of them or more
    crowded = 2 * sorted(costs, reverse=True)[count] if len(costs) > count else 0
    bound = max(sum(costs) / count, max(costs, default=0), crowded)
    assert largest <= 4 / 3 * bound + max(costs, default=0) / 3
    # at the time the last item of the fullest share was given away, that share was the emptiest
    assert largest <= sum(costs) / count + max(costs, default=0) * (1 - 1 / count) + 1e-9


def test_longest_first():
    assert share_out(["a", "b", "c", "d"], [1, 3, 1, 1], 2) == [["b"], ["a", "c", "d"]]


def test_alone():
    world = World()
    assert world.first and world.gather(5) == [5]
    world.close()
