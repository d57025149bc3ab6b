"""Coroutines without a task of their own."""

import asyncio

from cogment_lab.wire.driven import Driven


def test_it_runs_to_its_end_and_says_so() -> None:
    async def main() -> None:
        gate = asyncio.get_running_loop().create_future()
        results: list[int] = []

        async def work() -> int:
            await asyncio.sleep(0)
            return 1 + await gate

        Driven(work(), results.append)
        gate.set_result(1)
        while not results:
            await asyncio.sleep(0)
        assert results == [2]

    asyncio.run(main())


def test_one_that_was_given_up_stays_silent() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        complaints: list[object] = []
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        gate = loop.create_future()
        cleaned: list[bool] = []

        async def work() -> None:
            try:
                await gate
            finally:
                cleaned.append(True)

        results: list[None] = []
        driven = Driven(work(), results.append)
        driven.close()
        gate.set_result(None)
        for _ in range(3):
            await asyncio.sleep(0)
        assert (cleaned, results, complaints) == ([True], [], [])

    asyncio.run(main())
