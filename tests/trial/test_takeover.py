import pytest

from cogment_lab.trial.takeover import Phase, Request, TakeoverMachine

_ALLOWED = {
    (Phase.AUTONOMOUS, Request.TAKE): Phase.CORRECTING,
    (Phase.AUTONOMOUS, Request.PAUSE): Phase.PAUSED,
    (Phase.PAUSED, Request.TAKE): Phase.CORRECTING,
    (Phase.PAUSED, Request.RESUME): Phase.AUTONOMOUS,
    (Phase.PAUSED, Request.RELEASE): Phase.AUTONOMOUS,
    (Phase.PAUSED, Request.LOST): Phase.AUTONOMOUS,
    (Phase.CORRECTING, Request.RELEASE): Phase.AUTONOMOUS,
    (Phase.CORRECTING, Request.PAUSE): Phase.PAUSED,
    (Phase.CORRECTING, Request.LOST): Phase.AUTONOMOUS,
}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("request_", Request)
def test_only_listed_transitions_change_the_phase(phase: Phase, request_: Request) -> None:
    machine = TakeoverMachine()
    machine.phase = phase
    expected = _ALLOWED.get((phase, request_))
    assert machine.request(request_) is (expected is not None)
    assert machine.phase is (phase if expected is None else expected)


def test_a_lost_seat_always_leads_back_to_the_player() -> None:
    for phase in Phase:
        machine = TakeoverMachine()
        machine.phase = phase
        machine.request(Request.LOST)
        assert machine.phase is Phase.AUTONOMOUS
