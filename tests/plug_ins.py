"""Kinds of provider of a package from outside: most break, each in its own way."""

from pathlib import Path

import pytest

ENTRY_POINTS = """\
[batchyard.providers]
gone = plug_ins_of_a_test_that_are_gone:Gone
moody = plug_ins_of_a_test:Moody
vague = plug_ins_of_a_test:Vague
clinging = plug_ins_of_a_test:Clinging
number = plug_ins_of_a_test:NUMBER
mute = plug_ins_of_a_test:Mute
torn = plug_ins_of_a_test:Torn
vain = plug_ins_of_a_test:Vain
halting = plug_ins_of_a_test:Halting
steady = plug_ins_of_a_test:Steady
free = plug_ins_of_a_test:Free
"""

MODULE = '''\
"""Providers, most of which break."""

from batchyard.models import Kind, Policy, Rate
from batchyard.providers.base import Promise, Provider, Service
from batchyard.providers.settings import Settings

NUMBER = 7


class Clinging(Provider):
    """Cannot be closed."""

    kinds = frozenset(Kind)
    was_closed = False

    @property
    def promise(self):
        return Promise(policy=Policy.NEITHER)

    async def send(self, request):
        raise NotImplementedError

    async def close(self):
        self.was_closed = True
        raise KeyError("pool")


class Moody(Clinging):
    """Cannot be made."""

    def __init__(self, surroundings):
        super().__init__(surroundings)
        raise KeyError(surroundings.secret)


class Mute(Clinging):
    """Cannot say what it books."""

    async def find_services(self):
        raise KeyError(self.secret)


class Torn(Clinging):
    """Breaks when it is asked what it books."""

    @classmethod
    def services(cls, settings):
        raise KeyError("sesame")


class Vain(Clinging):
    """Says what it books in words of its own."""

    @classmethod
    def services(cls, settings):
        return ["gls/parcelshop"]


class Halting(Clinging):
    """Breaks while it says what it books."""

    @classmethod
    def services(cls, settings):
        yield Service(carrier="gls", service="parcelshop")
        raise OSError("sesame")


class Steady(Clinging):
    """Has limits of its own, and settings without any."""

    settings_model = Settings
    concurrency = 3
    rate = Rate(count=7, seconds=1)


class Free(Clinging):
    """Works its rate out once it is open."""

    @property
    def rate(self):
        return Rate(count=len(self.name), seconds=1)


class Vague(Clinging):
    """Does not know what it promises."""

    @property
    def promise(self):
        return self.settings["promise"]
'''

BROKEN = ("gone", "moody", "vague", "number")
"""The kinds that cannot be opened."""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package with these kinds for this process, until the test ends."""
    info = folder / "plug_ins_of_a_test-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug-ins-of-a-test\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "plug_ins_of_a_test.py").write_text(MODULE)
    monkeypatch.syspath_prepend(folder)
