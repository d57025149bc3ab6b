"""Conditions stay balanced, and the same arrivals get the same conditions."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cogment_lab.studies.assignment import assign

CONDITIONS = st.lists(st.text("abcdef", min_size=1, max_size=3), min_size=1, max_size=5, unique=True)


@given(CONDITIONS, st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_those_who_count_are_at_most_one_apart(conditions: list[str], seed: int, people: int) -> None:
    taken: Counter[str] = Counter()
    for number in range(people):
        taken[assign(conditions, taken, seed=seed, number=number)] += 1
        counts = [taken[each] for each in conditions]
        assert max(counts) - min(counts) <= 1


@given(CONDITIONS, st.integers(0, 99), st.lists(st.booleans(), max_size=40))
def test_who_leaves_is_made_up_for(conditions: list[str], seed: int, leaves: list[bool]) -> None:
    taken: Counter[str] = Counter()
    for number, is_leaving in enumerate(leaves):
        condition = assign(conditions, taken, seed=seed, number=number)
        assert taken[condition] == min(taken[each] for each in conditions)
        if not is_leaving:
            taken[condition] += 1


def test_the_seed_decides_and_the_order_does_not_repeat() -> None:
    def order(seed: int) -> list[str]:
        taken: Counter[str] = Counter()
        found = []
        for number in range(40):
            found.append(assign(["a", "b"], taken, seed=seed, number=number))
            taken[found[-1]] += 1
        return found

    assert order(1) == order(1) != order(2)
    assert order(1)[:20] != ["a", "b"] * 10 and order(1)[:20] != ["b", "a"] * 10
