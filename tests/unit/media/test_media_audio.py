from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clips import RATE, make, tone

from utopia.errors import InputError
from utopia.media.audio import NoAudio, read_audio, resample


def wave(seconds: float, rate: int, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.mark.parametrize("codec", ["pcm_s16le", "flac", "pcm_f32le", "pcm_u8", "pcm_s32le"])
def test_mono_is_the_mean_of_the_channels(tmp_path: Path, codec: str) -> None:
    """One channel at full and one at half loudness: a mean of 0.75, where FFmpeg's down-mix in float gives 1.06."""
    names = {"pcm_f32le": "flt", "pcm_u8": "u8", "pcm_s32le": "s32"}
    sound = tone(2)
    path = tmp_path / "clip.mkv"
    if codec in names:
        _write_pcm(path, codec, names[codec], sound)
    else:
        make(path, frames=50, sound=sound, sound_codec=codec)
    samples = read_audio(path, RATE)
    assert samples.dtype == np.float32
    np.testing.assert_allclose(
        samples[: len(sound[0])], 0.75 * sound[0], rtol=0, atol=6e-3 if codec == "pcm_u8" else 3e-5
    )


def test_compressed_sound_keeps_its_loudness_and_pitch(tmp_path: Path) -> None:
    samples = read_audio(make(tmp_path / "clip.mp4", frames=75, sound=tone(3)))
    assert len(samples) == pytest.approx(3 * 16_000, abs=1024)
    middle = samples[8000:40_000]
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.75 * 0.5 / np.sqrt(2), rel=0.01)
    assert np.abs(np.fft.rfft(middle)).argmax() * 16_000 / len(middle) == pytest.approx(440, abs=0.6)


@pytest.mark.parametrize("rate", [44_100, 48_000, 22_050, 8000])
def test_resampling_keeps_a_tone_and_stops_aliases(rate: int) -> None:
    result = resample(wave(1.0, rate).astype(np.float32), rate, 16_000)
    assert len(result) == 16_000
    np.testing.assert_allclose(result[800:-800], wave(1.0, 16_000)[800:-800], rtol=0, atol=2e-4)
    if rate > 20_000:
        alias = resample(wave(1.0, rate, 9000.0).astype(np.float32), rate, 16_000)
        assert np.abs(alias[800:-800]).max() < 2e-4


def test_sound_at_the_wanted_rate_is_left_alone(tmp_path: Path) -> None:
    sound = tone(1, rate=16_000, channels=1)
    path = make(tmp_path / "song.mkv", frames=0, sound=sound, sound_rate=16_000, sound_codec="flac")
    np.testing.assert_allclose(read_audio(path), sound[0], rtol=0, atol=2e-5)


def test_time_zero_is_the_first_frame(tmp_path: Path) -> None:
    sound = tone(1, rate=16_000, channels=1)
    settings = {"frames": 50, "sound": sound, "sound_rate": 16_000, "sound_codec": "flac"}
    late = read_audio(make(tmp_path / "late.mkv", sound_delay_s=0.5, **settings))
    assert len(late) == 24_000 and not late[:8000].any()
    np.testing.assert_allclose(late[8000:], sound[0], rtol=0, atol=2e-5)
    early = read_audio(make(tmp_path / "early.mkv", first=10, **settings))  # the video starts after 0.4 s
    np.testing.assert_allclose(early, sound[0][6400:], rtol=0, atol=2e-5)


def test_left_and_right_are_kept_where_they_are_asked_for(tmp_path: Path) -> None:
    sound = tone(1)
    both = read_audio(make(tmp_path / "song.mkv", frames=50, sound=sound, sound_codec="flac"), RATE, channels=2)
    assert both.dtype == np.float32 and both.shape[0] == 2
    np.testing.assert_allclose(both[:, : sound.shape[1]], sound, rtol=0, atol=3e-5)
    at_16 = read_audio(tmp_path / "song.mkv", 16_000, channels=2)
    assert at_16.shape == (2, 16_000) and np.abs(at_16[1] - at_16[0] / 2).max() < 1e-4
    one = tone(1, channels=1)
    late = make(tmp_path / "one.mkv", frames=50, sound=one, sound_codec="flac", sound_delay_s=0.5)
    twice = read_audio(late, RATE, channels=2)
    assert twice.shape == (2, RATE + RATE // 2) and np.array_equal(twice[0], twice[1])
    assert not twice[:, : RATE // 2].any()
    np.testing.assert_allclose(twice[0, RATE // 2 :], one[0], rtol=0, atol=3e-5)


def test_silent_video_is_an_absence(tmp_path: Path) -> None:
    with pytest.raises(NoAudio, match="no sound"):
        read_audio(make(tmp_path / "silent.mp4", frames=5))
    assert issubclass(NoAudio, InputError)


def test_damaged_sound_names_the_time(tmp_path: Path) -> None:
    path = make(tmp_path / "song.mkv", frames=0, sound=tone(5), container={"reserve_index_space": "1000"})
    content = bytearray(path.read_bytes())
    half = len(content) // 2
    content[half : half + 4000] = np.random.default_rng(2).integers(0, 255, 4000, np.uint8).tobytes()
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"song.mkv: .* \d\.\d\d s"):
        read_audio(path)


def test_no_media(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_text("hello")
    with pytest.raises(InputError, match="not readable as media"):
        read_audio(tmp_path / "clip.mp4")


def test_real_clip(shared_data: Path) -> None:
    samples = read_audio(shared_data / "video" / "nasa_13013.mp4")
    assert len(samples) / 16_000 == pytest.approx(13.0, abs=0.1)
    assert 0.001 < np.abs(samples).mean() < 0.5


def _write_pcm(path: Path, codec: str, name: str, sound: np.ndarray) -> None:
    import av

    scale = {"u8": lambda x: (x * 127 + 128).round().astype(np.uint8), "s32": lambda x: (x * 2.0**31).astype(np.int32)}
    values = scale.get(name, lambda x: x)(sound)
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=RATE, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(values.T.reshape(1, -1)), format=name, layout="stereo")
        frame.sample_rate = RATE
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
