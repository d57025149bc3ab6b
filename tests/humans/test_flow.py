"""What a viewer's link makes of the pictures: simulated links, no clock."""

from collections import deque

from cogment_lab.humans.web.flow import Flow
from cogment_lab.humans.web.picture import STEPS

STEP_BYTES = [9000, 6500, 5500, 4500, 2000, 1000]


class Link:
    """A viewer behind a link of so many bytes a second and so long a way, looking at 30 pictures a second."""

    def __init__(self, bytes_per_s: float, round_trip: float, source_fps: float = 30.0) -> None:
        self.flow = Flow(len(STEPS))
        self.now = 0.0
        self.bytes_per_s = bytes_per_s
        self.round_trip = round_trip
        self.period = 1.0 / source_fps
        self.busy_until = 0.0
        self.acks: deque[tuple[float, int]] = deque()
        self.delivered: list[float] = []
        self.most_waiting = 0

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.001
            while self.acks and self.acks[0][0] <= self.now:
                at, sequence = self.acks.popleft()
                self.flow.heard(sequence, at)
                self.delivered.append(at)
            sequence = int(self.now / self.period)
            under_way = [each for _, each in self.acks]
            if sequence > max([self.flow.acknowledged, *under_way]) and self.flow.wants(sequence, self.now):
                self.flow.sent(sequence, self.now)
                self.busy_until = (
                    max(self.busy_until, self.now) + STEP_BYTES[self.flow.step] / self.bytes_per_s
                )
                self.acks.append((self.busy_until + self.round_trip, sequence))
            self.most_waiting = max(self.most_waiting, len(self.acks))

    def fps(self, last: float) -> float:
        return sum(each > self.now - last for each in self.delivered) / last


def test_a_fast_link_gets_every_picture_at_the_best_quality() -> None:
    link = Link(10e6, 0.005)
    link.run(10)
    assert link.flow.step == 0
    assert link.fps(5) > 29
    assert link.most_waiting == 1


def test_a_long_way_gets_more_pictures_under_way_not_worse_ones() -> None:
    link = Link(10e6, 0.12)
    link.run(15)
    assert link.flow.step == 0
    assert link.fps(5) > 28
    assert 3 <= link.most_waiting <= 6


def test_one_megabit_gets_smaller_pictures_at_nearly_full_rate() -> None:
    link = Link(125_000, 0.02)
    link.run(60)
    assert link.flow.step > 0
    assert link.fps(10) > 20
    assert link.most_waiting <= 3


def test_a_very_slow_link_gets_the_smallest_and_waits_little() -> None:
    link = Link(8_000, 0.05)
    link.run(60)
    assert link.flow.step == len(STEPS) - 1
    assert link.fps(20) > 4
    assert link.most_waiting <= 3


def test_a_link_that_recovers_gets_its_quality_back() -> None:
    link = Link(20_000, 0.02)
    link.run(30)
    assert link.flow.step >= 4
    link.bytes_per_s = 10e6
    link.run(200)
    assert link.flow.step == 0


def test_a_viewer_that_never_acknowledges_is_sent_one_picture() -> None:
    flow = Flow(len(STEPS))
    sent = 0
    for millisecond in range(60_000):
        now = millisecond / 1000
        if flow.wants(millisecond // 33, now):
            flow.sent(millisecond // 33, now)
            sent += 1
    assert sent == 1


def test_a_limited_rate_is_kept() -> None:
    link = Link(10e6, 0.005, source_fps=50.0)
    link.flow.max_fps = 15.0
    link.run(10)
    assert 14 < link.fps(5) < 15.5
    assert link.flow.step == 0


def test_acknowledgements_of_pictures_not_under_way_are_ignored() -> None:
    flow = Flow(len(STEPS))
    assert not flow.heard(5, 1.0)
    assert flow.wants(1, 1.0)
    flow.sent(1, 1.0)
    assert not flow.heard(-1, 1.1)
    assert flow.heard(1, 1.1)


def test_pictures_that_come_unevenly_are_all_sent_where_60_are_wanted() -> None:
    flow = Flow(len(STEPS))
    sent = 0
    for sequence in range(1, 601):
        now = sequence / 60 + (0.007 if sequence % 7 == 0 else 0.0)
        if flow.wants(sequence, now):
            flow.sent(sequence, now)
            flow.heard(sequence, now + 0.004)
            sent += 1
    assert sent == 600


def test_a_faster_trial_is_shown_at_60_pictures_a_second() -> None:
    flow = Flow(len(STEPS))
    sent = 0
    for sequence in range(1, 1001):
        now = sequence / 100
        if flow.wants(sequence, now):
            flow.sent(sequence, now)
            flow.heard(sequence, now + 0.001)
            sent += 1
    assert 590 <= sent <= 605
