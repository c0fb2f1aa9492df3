"""Drum kits, made up: every kit has its own tuning, decays, colours and loudness, as kits in life have.

A skin is a tone that sinks a little and a knock of the stick; wires and cymbals are noise of which every band fades at
its own pace, over tones that stand in no simple ratio.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

Stroke = Callable[[dict[str, float], float, np.random.Generator], np.ndarray]
"""One hit, of a kit's tuning, how hard it is (0 to 1) and what is drawn for it."""

RATE = 44_100
"""Hz."""

PLAYED = ("kick", "snare", "hihat_closed", "hihat_open", "crash", "ride", "tom_high", "tom_mid", "tom_low")
"""The components that every kit has."""

LAYERS = (0.35, 0.7, 1.0)
"""How hard a drum is hit: a hard hit is not only louder but brighter."""

TAKES = {"crash": 1, "ride": 2, "hihat_open": 2}
"""Different sounds of each layer; of the others there are three. No two hits of a drummer are the same."""

BRIGHT_HZ = 2500
"""From here on up recordings differ in how bright they are."""

FADE = 0.15
"""Seconds in which what still rings at the end of a stroke falls silent."""

BLOCK = 512
"""Samples of a tone that are reckoned at once."""

KNEE = 1.1
"""Exponent from velocity to loudness."""


@dataclass
class Kit:
    """One kit. What is drawn once, such as a tuning, is the kit's; what is drawn again and again is the stroke's."""

    seed: tuple[int, ...]
    tuning: dict[str, float]
    _sounds: dict[tuple[str, int, int], np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def made(cls, *seed: int) -> Kit:
        """The kit of this seed, always the same."""
        rng = np.random.default_rng([77, *seed])
        return cls(seed, {name: float(rng.uniform(low, high)) for name, (low, high) in TUNINGS.items()})

    def strike(self, component: str, velocity: float, rng: np.random.Generator) -> np.ndarray:
        """One hit, from its first sample to where it has faded; `velocity` from 0 to 1 says how hard."""
        layer = int(np.argmin([abs(velocity - hard) for hard in LAYERS]))
        take = int(rng.integers(TAKES.get(component, 3)))
        key = (component, layer, take)
        if key not in self._sounds:
            own = np.random.default_rng([*self.seed, PLAYED.index(component), layer, take])
            sound = _darkened(STROKES[component](self.tuning, LAYERS[layer], own), self.tuning["dark"])
            sound *= np.minimum(1, np.arange(len(sound), 0, -1) / (FADE * RATE))
            self._sounds[key] = (sound / np.abs(sound).max()).astype(np.float32)
        return self._sounds[key] * np.float32(velocity**KNEE * self.tuning[f"{component} loud"])


TUNINGS: dict[str, tuple[float, float]] = {
    "dark": (0.0, 1.0),
    "kick hz": (42, 66),
    "kick sweep": (1.6, 4.0),
    "kick decay": (0.07, 0.22),
    "kick click": (0.08, 0.5),
    "kick click hz": (1800, 5000),
    "snare hz": (165, 250),
    "snare decay": (0.04, 0.1),
    "snare wires": (0.45, 1.5),
    "snare wires decay": (0.06, 0.15),
    "snare wires hz": (1200, 2800),
    "hat low hz": (2400, 7000),
    "hat decay": (0.025, 0.055),
    "hat open decay": (0.18, 0.45),
    "hat tones": (0.2, 0.6),
    "crash low hz": (350, 800),
    "crash decay": (0.4, 0.9),
    "crash tones": (0.1, 0.35),
    "ride ping hz": (2400, 4600),
    "ride ping": (0.8, 2.0),
    "ride decay": (0.5, 1.0),
    "tom hz": (180, 235),
    "tom step": (1.35, 1.5),
    "tom decay": (0.14, 0.34),
    "tom stick": (0.08, 0.3),
    "tom sweep": (1.1, 1.4),
    "kick loud": (0.75, 1.0),
    "snare loud": (0.65, 0.95),
    "hihat_closed loud": (0.45, 0.65),
    "hihat_open loud": (0.45, 0.65),
    "crash loud": (0.45, 0.75),
    "ride loud": (0.3, 0.5),
    "tom_high loud": (0.55, 0.85),
    "tom_mid loud": (0.55, 0.85),
    "tom_low loud": (0.6, 0.9),
}
"""What kits differ in, from least to most: Hz, seconds, shares."""


def kick(kit: dict[str, float], hard: float, rng: np.random.Generator) -> np.ndarray:
    """A tone that falls to the drum's own, and the click of the beater."""
    time = _time(0.5)
    skin = _skin(time, kit["kick hz"], kit["kick sweep"], 0.018, kit["kick decay"] * (0.8 + 0.3 * hard))
    click = _noise(rng, len(time), kit["kick click hz"] / 3, kit["kick click hz"] * 2) * np.exp(-time / 0.005)
    return skin + hard * kit["kick click"] * click


def snare(kit: dict[str, float], hard: float, rng: np.random.Generator) -> np.ndarray:
    """Two tones of the skin, the wires under it, the stick."""
    time = _time(0.5)
    hz, decay = kit["snare hz"] * rng.uniform(0.99, 1.01), kit["snare decay"]
    skin = _skin(time, hz, 1.25, 0.01, decay) + 0.5 * _skin(time, hz * 1.59, 1.1, 0.01, decay * 0.7)
    low, tail = kit["snare wires hz"], kit["snare wires decay"]
    wires = _bands(
        rng, time, [(low / 3, low, 0.5, tail * 0.7), (low, 3 * low, 1.0, tail), (7000, 14000, 0.1, tail / 2)]
    )
    stick = _noise(rng, len(time), 1500, 7000) * np.exp(-time / 0.003)
    return skin + kit["snare wires"] * (0.6 + 0.4 * hard) * 0.5 * wires + hard * 0.5 * stick


def closed_hat(kit: dict[str, float], hard: float, rng: np.random.Generator) -> np.ndarray:
    """A short tick, high above everything else."""
    return _hat(kit, hard, rng, seconds=0.25, decay=kit["hat decay"] * rng.uniform(0.85, 1.2))


def open_hat(kit: dict[str, float], hard: float, rng: np.random.Generator) -> np.ndarray:
    """The same two cymbals, left to ring."""
    return _hat(kit, hard, rng, seconds=1.2, decay=kit["hat open decay"] * rng.uniform(0.9, 1.1))


def crash(kit: dict[str, float], hard: float, rng: np.random.Generator) -> np.ndarray:
    """A wash from the low middle up, that takes some milliseconds to open."""
    time, low, decay = _time(1.48), kit["crash low hz"], kit["crash decay"]
    wash = _bands(
        rng,
        time,
        [
            (low, 3 * low, 0.5, decay),
            (3 * low, 5000, 0.9, decay),
            (5000, 10000, 1.0 * (0.5 + hard / 2), decay * 0.7),
            (10000, 18000, 0.7 * hard, decay * 0.4),
        ],
    )
    tones = _tones(kit, "crash", time, 24, (low, 7000), decay)
    return (wash + kit["crash tones"] * tones) * (1 - 0.6 * np.exp(-time / 0.006))


def ride(kit: dict[str, float], hard: float, rng: np.random.Generator) -> np.ndarray:
    """The ping of the stick over a thin wash."""
    time, ping, decay = _time(1.48), kit["ride ping hz"], kit["ride decay"]
    wash = _bands(rng, time, [(600, ping, 0.35, decay), (ping, 9000, 0.6, decay), (9000, 16000, 0.3 * hard, decay / 2)])
    tones = _tones(kit, "ride", time, 16, (ping * 0.6, ping * 2.4), decay * 0.6)
    stick = _noise(rng, len(time), ping, 12000) * np.exp(-time / 0.006)
    return 0.4 * wash + kit["ride ping"] * 0.5 * tones + (0.3 + hard * 0.5) * stick


def tom(which: int) -> Stroke:
    """The stroke of a tom: 0 is the highest, 2 the lowest."""

    def stroke(kit: dict[str, float], hard: float, rng: np.random.Generator) -> np.ndarray:
        time = _time(0.75)
        hz, decay = kit["tom hz"] / kit["tom step"] ** which, kit["tom decay"] * (1 + 0.25 * which)
        sweep = 1 + (kit["tom sweep"] - 1) * hard
        skin = _skin(time, hz, sweep, 0.05, decay) + 0.35 * _skin(time, hz * 1.58, sweep, 0.05, decay * 0.5)
        stick = _noise(rng, len(time), 900, 6000) * np.exp(-time / 0.005)
        return skin + hard * kit["tom stick"] * stick

    return stroke


def _hat(kit: dict[str, float], hard: float, rng: np.random.Generator, *, seconds: float, decay: float) -> np.ndarray:
    time, low = _time(seconds), kit["hat low hz"]
    sizzle = _bands(rng, time, [(low / 2, low, 0.3, decay * 0.8), (low, 11000, 1.0, decay), (11000, 18000, 0.8, decay)])
    tones = _tones(kit, "hat", time, 14, (low / 2, 13000), decay)
    stick = _noise(rng, len(time), 2500, 9000) * np.exp(-time / 0.003)
    return sizzle + kit["hat tones"] * tones + 0.5 * hard * stick


def _darkened(sound: np.ndarray, dark: float) -> np.ndarray:
    """As microphones and tapes hear it: what is high is weaker, the more the higher."""
    size = 1 << (len(sound) - 1).bit_length()
    response = (1 + (np.fft.rfftfreq(size, 1 / RATE) / BRIGHT_HZ) ** 2) ** (-dark / 2)
    return np.fft.irfft(np.fft.rfft(sound, size) * response, size)[: len(sound)]


def _time(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * RATE)) / RATE


def _skin(time: np.ndarray, hz: float, sweep: float, falls: float, decay: float) -> np.ndarray:
    """A tone that begins `sweep` times too high and reaches `hz` with the time constant `falls`."""
    phase = 2 * np.pi * hz * (time + (sweep - 1) * falls * (1 - np.exp(-time / falls)))
    return np.minimum(1, time / 0.0008) * np.sin(phase + 0.6) * np.exp(-time / decay)


def _bands(rng: np.random.Generator, time: np.ndarray, bands: list[tuple[float, float, float, float]]) -> np.ndarray:
    """Noise in bands of (lowest Hz, highest Hz, loudness, decay in seconds)."""
    return np.sum(
        [loud * _noise(rng, len(time), low, high) * np.exp(-time / decay) for low, high, loud, decay in bands], axis=0
    )


def _tones(
    kit: dict[str, float], cymbal: str, time: np.ndarray, count: int, span: tuple[float, float], decay: float
) -> np.ndarray:
    """Tones of a cymbal, in no simple ratio; each kit's cymbal has its own, and they fade each at its own pace."""
    own = np.random.default_rng(
        [round(1000 * value) for value in (kit["hat low hz"], kit["ride ping hz"])] + [len(cymbal)]
    )
    hz = np.exp(own.uniform(np.log(span[0]), np.log(span[1]), size=count))
    fades = decay * own.uniform(0.4, 1.3, size=count)
    first = own.uniform(0.2, 1.0, size=count) * np.exp(1j * own.uniform(0, 6.3, size=count))
    # A fading tone is a power of one complex number: that of a block's beginning times that within the block.
    turn = (2j * np.pi * hz - 1 / fades) / RATE
    blocks = np.exp(np.outer(np.arange(0, len(time), BLOCK), turn)) * first
    within = np.exp(np.outer(turn, np.arange(BLOCK)))
    return (blocks @ within).imag.ravel()[: len(time)] / np.sqrt(count / 2)


def _noise(rng: np.random.Generator, count: int, low: float, high: float) -> np.ndarray:
    """Noise between two frequencies (Hz) that fade softly, with a deviation of one."""
    size = 1 << (count - 1).bit_length()
    hz = np.maximum(np.fft.rfftfreq(size, 1 / RATE), 1.0)
    response = 1 / np.sqrt((1 + (low / hz) ** 6) * (1 + (hz / high) ** 6))
    spectrum = response * (rng.standard_normal(len(hz)) + 1j * rng.standard_normal(len(hz)))
    sound = np.fft.irfft(spectrum, size)[:count]
    return sound / sound.std()


STROKES: dict[str, Stroke] = {
    "kick": kick,
    "snare": snare,
    "hihat_closed": closed_hat,
    "hihat_open": open_hat,
    "crash": crash,
    "ride": ride,
    "tom_high": tom(0),
    "tom_mid": tom(1),
    "tom_low": tom(2),
}
"""How each component sounds."""
