"""What a provider must do when the other side of its HTTP misbehaves."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from batchyard.models import Accepted, Ended, Lost, NotReceived, Policy, Progress, Refused
from batchyard.providers.base import Provider
from batchyard.testing.conformance import ProviderConformance
from batchyard.testing.server import Arrived, HttpServer
from batchyard.testing.world import FAULTS_AFTER, FAULTS_BEFORE, Book, Fault, Served, World

OVERTIME_SECONDS = 5.0
"""How much longer than its promise a provider may take on a busy machine."""

CASES: Mapping[str, Sequence[Fault]] = {
    "fault_before": FAULTS_BEFORE,
    "fault_after": FAULTS_AFTER,
    "undecided": [fault for fault in Fault if fault is not Fault.BUSY_BEFORE],
}
"""What tests that ask for an argument of this name are run with."""

TRUE_NEWS = (Accepted, Progress, Ended)
BARE_REFUSALS = (400, 403, 404, 422)
"""Statuses that a proxy may answer with as well."""


class Metafunc(Protocol):
    """What pytest hands to `pytest_generate_tests`; it is no dependency of ours."""

    fixturenames: list[str]

    def parametrize(self, argnames: str, argvalues: Sequence[Fault]) -> None:
        """Run the test once for each value."""


class HttpProviderConformance(ProviderConformance):
    """For providers that speak HTTP: also say how the other side would serve them.

    Choose a timeout of about a second in `settings`: some of these tests wait for it.
    """

    def serve(self, arrived: Arrived, book: Book) -> Served:
        """Answer as the other side does; tell `book.act(key, answer)` for each real effect.

        A repeated key has a second effect only where the other side would really have one.
        """
        raise NotImplementedError

    def prepares(self, arrived: Arrived) -> bool:  # noqa: ARG002  # for those of two steps
        """Tell whether a request only prepares the effect; faults and counts pass it by."""
        return False

    def pytest_generate_tests(self, metafunc: Metafunc) -> None:
        """Let pytest run a test once for each fault."""
        for name, faults in CASES.items():
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, faults)

    def test_request_has_one_effect(self) -> None:
        async def examine(provider: Provider, world: World) -> None:
            for request in self._requests(provider):
                answer = await provider.send(request)
                self.check_answer(answer, request)
                assert isinstance(answer, TRUE_NEWS), f"a good answer was read as {answer!r}"
                assert world.book.effects[request.key] == 1, "no effect is known under this key"

        self._in_world(examine)

    def test_fault_before_the_effect_is_no_news(self, fault_before: Fault) -> None:
        async def examine(provider: Provider, world: World) -> None:
            for request in self._requests(provider):
                world.next_fault = fault_before
                answer = await provider.send(request)
                self.check_answer(answer, request)
                assert isinstance(answer, Refused | Lost), f"{fault_before} was read as {answer!r}"
                assert world.book.effects[request.key] == 0, "send repeats; it never may"

        self._in_world(examine)

    def test_fault_after_the_effect_is_a_lost_answer(self, fault_after: Fault) -> None:
        async def examine(provider: Provider, world: World) -> None:
            for request in self._requests(provider):
                world.next_fault = fault_after
                arrivals = world.book.arrivals
                begun = asyncio.get_running_loop().time()
                answer = await provider.send(request)
                took = asyncio.get_running_loop().time() - begun
                self.check_answer(answer, request)
                assert isinstance(answer, Lost), f"{fault_after} was read as {answer!r}"
                assert world.book.arrivals == arrivals + 1, "send repeats; it never may"
                assert took < provider.promise.timeout.total_seconds() + OVERTIME_SECONDS

        self._in_world(examine)

    def test_lost_answer_is_found_or_repeated_without_a_second_effect(
        self, fault_after: Fault
    ) -> None:
        async def examine(provider: Provider, world: World) -> None:
            request = next(self._requests(provider))
            world.next_fault = fault_after
            await provider.send(request)
            if provider.promise.is_askable:
                finding = await provider.ask(self.after_send(request))
                self.check_finding(finding, request)
                assert isinstance(finding, TRUE_NEWS), f"what was done is found as {finding!r}"
            if provider.promise.policy is Policy.REPEATABLE:
                answer = await provider.send(replace(request, delivery=2))
                assert isinstance(answer, TRUE_NEWS), f"the repeated key brought {answer!r}"
            assert world.book.effects[request.key] == 1

        self._in_world(examine)

    def test_bare_refusal_is_no_answer_to_a_key_that_is_sent_again(self) -> None:
        async def examine(provider: Provider, world: World) -> None:
            if provider.promise.policy is not Policy.REPEATABLE:
                return
            for request in self._requests(provider):
                answer = await provider.send(request)
                self.check_answer(answer, request)
                assert not isinstance(answer, Ended) or answer.is_refusal, (
                    f"a bare refusal was read as {answer!r}"
                )
            assert not world.book.effects

        for status in BARE_REFUSALS:
            self._in_world(examine, serve=partial(_refuse, status))

    def test_asking_for_a_key_never_sent_finds_nothing(self) -> None:
        async def examine(provider: Provider, world: World) -> None:
            request = next(self._requests(provider))
            finding = await provider.ask(request)
            expected = NotReceived if provider.promise.is_askable else Lost
            assert isinstance(finding, expected), f"a key never sent is found as {finding!r}"
            assert not world.book.effects

        self._in_world(examine)

    def test_undecided_look_up_is_not_taken_for_never_received(self, undecided: Fault) -> None:
        async def examine(provider: Provider, world: World) -> None:
            request = next(self._requests(provider))
            await provider.send(request)
            world.next_fault = undecided
            finding = await provider.ask(self.after_send(request))
            self.check_finding(finding, request)
            assert not isinstance(finding, NotReceived), f"{undecided} proves nothing"

        self._in_world(examine)

    def test_unreachable_other_side_is_no_news(self) -> None:
        async def examine(provider: Provider) -> None:
            for kind in sorted(provider.kinds):
                request = self.make_request(kind)
                answer = await provider.send(request)
                assert isinstance(answer, Refused | Lost), f"nobody answered, yet: {answer!r}"
                assert isinstance(await provider.ask(request), Lost)

        self._with_provider(examine)

    def test_requests_at_once_do_not_mix(self) -> None:
        async def examine(provider: Provider, world: World) -> None:
            requests = [self.make_request(kind) for kind in sorted(provider.kinds) * 10]
            answers = await asyncio.gather(*(provider.send(request) for request in requests))
            for request, answer in zip(requests, answers, strict=True):
                self.check_answer(answer, request)
                assert isinstance(answer, TRUE_NEWS)
            assert world.book.effects == {request.key: 1 for request in requests}

        self._in_world(examine)

    def _in_world(
        self,
        examine: Callable[[Provider, World], Awaitable[None]],
        *,
        serve: Callable[[Arrived, Book], Served] | None = None,
    ) -> None:
        async def run() -> None:
            world = World(serve or self.serve, prepares=self.prepares)
            async with HttpServer(world.handle) as server:
                provider = self.open_provider(server.url)
                try:
                    await examine(provider, world)
                finally:
                    await provider.close()

        asyncio.run(run())


def _refuse(status: int, _arrived: Arrived, _book: Book) -> Served:
    return Served(status=status, body=b"{}")
