"""What decord makes of small videos: counts, rates, frames and pixels.

    python make_video.py

Needs Debian 12's ffmpeg (5.1) in PATH and decord 0.6.0, which brings FFmpeg 4.1; numpy is any. Writes video/: the files,
video.json and for each file decord's RGB of two frames, one under the other, as PNG.

Every frame carries its number as ten stripes along its foot, black for 0 and white for 1, the lowest bit on the left.
"""

import json
import shutil
import struct
import subprocess
from pathlib import Path

import decord
import numpy as np
from PIL import Image

FOLDER = Path(__file__).resolve().parent / "video"
DEMO = Path(__file__).resolve().parents[2] / "examples" / "drawn_scenes" / "demo"
WIDTH, HEIGHT = 80, 48
X264 = ["-c:v", "libx264", "-preset", "medium", "-crf", "30", "-threads", "1"]
YUV = ["-pix_fmt", "yuv420p"]
H264 = [*X264, *YUV, "-bf", "2", "-g", "50", "-sc_threshold", "0"]


def frame(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Coloured blocks that move over a slope, and the number."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([x * 3, 255 - y * 4, (x + y) * 2], axis=2) % 256
    at = number * 2 % width
    rgb[4:20, at : at + 14] = (220, 30, 40)
    rgb[20:30, width - at - 9 : width - at + 3] = (20, 60, 230)
    for bit in range(10):
        left = width * bit // 10
        rgb[height - 12 :, left : left + width // 10] = 255 * (number >> bit & 1)
    return rgb.astype(np.uint8)


def number_of(rgb: np.ndarray) -> int:
    """Of an upright frame."""
    height, width, _ = rgb.shape
    foot = rgb[height - 7, :, 1]
    return sum(int(foot[width * bit // 10 + width // 20] > 128) << bit for bit in range(10))


def encode_rgb(name: str, frames: list[np.ndarray], *flags: str) -> None:
    height, width, _ = frames[0].shape
    command = ["ffmpeg", "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{width}x{height}"]
    command += ["-framerate", "30", "-i", "-", "-fflags", "+bitexact", "-flags:v", "+bitexact", *flags]
    subprocess.run([*command, str(FOLDER / name)], input=b"".join(rgb.tobytes() for rgb in frames), check=True)


def encode(name: str, frames: int, *flags: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> None:
    encode_rgb(name, [frame(number, *size) for number in range(frames)], *flags)


def copy(source: str, name: str, *flags: str, before: tuple[str, ...] = ()) -> None:
    command = ["ffmpeg", "-y", "-v", "error", *before, "-i", str(FOLDER / source), "-c", "copy", "-fflags", "+bitexact"]
    subprocess.run([*command, *flags, str(FOLDER / name)], check=True)


def cut(source: str, name: str, part: float) -> None:
    data = (FOLDER / source).read_bytes()
    (FOLDER / name).write_bytes(data[: int(len(data) * part)])


def write_kinds() -> None:
    """Of the counts, the times and the ends that a file may have."""
    encode("b_frames.mp4", 300, *H264)
    encode("mpeg4.avi", 60, "-c:v", "mpeg4", "-q:v", "12", "-g", "20", *YUV)
    encode("mpeg4_b_frames.avi", 40, "-c:v", "mpeg4", "-q:v", "12", "-g", "20", "-bf", "2", *YUV)
    encode("vp9.webm", 107, "-c:v", "libvpx-vp9", "-b:v", "0", "-crf", "45", "-g", "40", "-threads", "1", *YUV)
    encode("mjpeg.avi", 20, "-c:v", "mjpeg", "-q:v", "12", "-pix_fmt", "yuvj420p")
    encode("hevc.mkv", 30, "-c:v", "libx265", "-crf", "36", "-x265-params", "log-level=none:pools=1:info=0", *YUV)
    encode("mpeg2.ts", 40, "-c:v", "mpeg2video", "-q:v", "12", "-g", "12", "-bf", "2", *YUV)
    encode("open_gop.mp4", 60, *H264[:-4], "-g", "15", "-x264-params", "open-gop=1:scenecut=0")
    times = "settb=1/1000,setpts='if(lt(N,100),N*100,10000+(N-100)*20)'"
    varying = ["-vf", times, "-vsync", "passthrough", "-enc_time_base", "1:1000", *H264]
    encode("varying.mp4", 200, *varying)
    encode("varying.mkv", 200, *varying)
    encode("starts_at_5.mp4", 100, "-vf", "setpts=PTS+5/TB", "-vsync", "passthrough", *X264, *YUV, "-bf", "0")
    encode("whole.mp4", 100, *X264, *YUV, "-bf", "0", "-g", "250")
    copy("whole.mp4", "edit_list.mp4", before=("-ss", "0.66"))
    encode("groups.mp4", 100, *X264, *YUV, "-bf", "0", "-g", "30", "-sc_threshold", "0")
    copy("groups.mp4", "edit_list_groups.mp4", before=("-ss", "0.66"))
    (FOLDER / "groups.mp4").unlink()
    cut("vp9.webm", "cut.webm", 2 / 3)
    cut("mpeg4.avi", "cut.avi", 2 / 3)
    encode("one_frame.mp4", 1, *H264)


def write_pixels() -> None:
    """Of the rotations, the colours and the formats of pixels."""
    encode("upright.mp4", 1, *H264, size=(96, 64))  # of other sides decord's rotation reads its rows askew
    for degrees in (45, 90, 180, 270):
        copy("upright.mp4", f"rotated_{degrees}.mp4", "-metadata:s:v", f"rotate={degrees}")
    (FOLDER / "upright.mp4").unlink()
    tags = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
    encode("bt709.mp4", 1, "-vf", "scale=out_color_matrix=bt709", *H264, *tags)
    encode("full_range.mp4", 1, "-vf", "scale=out_range=full", *H264, "-color_range", "pc")
    encode("ten_bit.mp4", 2, *X264, "-pix_fmt", "yuv420p10le")
    encode("yuv444.mp4", 1, *X264, "-pix_fmt", "yuv444p")
    encode("yuv422.mp4", 1, *X264, "-pix_fmt", "yuv422p")
    encode("grey.mp4", 1, *X264, "-pix_fmt", "gray")
    encode("rgb.mp4", 1, "-c:v", "libx264rgb", *X264[2:], "-pix_fmt", "rgb24")
    encode("wide_pixels.mp4", 1, "-vf", "setsar=2", *H264)
    encode("odd.webm", 3, "-c:v", "libvpx-vp9", "-b:v", "0", "-crf", "40", "-threads", "1", *YUV, size=(75, 45))
    encode("hd_untagged.mp4", 1, *H264, size=(1280, 32))
    # Two of the toy's pictures, each twice, to the bit: a conversation about them is one of flows.json.
    pictures = [np.asarray(Image.open(DEMO / name).convert("RGB")) for name in ("hill.png", "cafe.png")]
    encode_rgb("scenes.mp4", [p for p in pictures for _ in range(2)], "-c:v", "libx264rgb", "-qp", "0", "-threads", "1")
    assert all(np.array_equal(open_video(FOLDER / "scenes.mp4")[2 * i].asnumpy(), pictures[i]) for i in range(2))


def write_refused() -> None:
    """Small files that hold no video that we read."""
    (FOLDER / "refused").mkdir()
    tone = ["ffmpeg", "-y", "-v", "error", "-f", "lavfi", "-i", "sine=duration=0.1:sample_rate=8000", "-fflags", "+bitexact"]
    subprocess.run([*tone, "-flags:a", "+bitexact", "-b:a", "8k", str(FOLDER / "refused/audio_only.mp4")], check=True)
    cover = FOLDER / "refused/cover.jpg"
    Image.fromarray(frame(5)).save(cover, quality=20)
    add = ["-i", str(cover), "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v:0", "attached_pic", "-b:a", "8k"]
    subprocess.run([*tone, *add, "-flags:a", "+bitexact", str(FOLDER / "refused/cover.m4a")], check=True)
    cover.unlink()
    encode("refused/ffv1.mkv", 1, "-c:v", "ffv1", *YUV)
    encode("refused/one.gif", 1)
    copy("one_frame.mp4", "refused/no_frames.mp4", "-frames:v", "0")
    encode("refused/still.mjpeg", 1, "-c:v", "mjpeg", "-q:v", "20", "-pix_fmt", "yuvj420p")


def get_index(bound: tuple[float, float] | None, fps: float, last: int, segments: int) -> list[int]:
    """By the formula of the model cards; Python's int() and round() and numpy's round are part of it."""
    start, end = bound or (-100000, 100000)
    start_index, end_index = max(0, round(start * fps)), min(round(end * fps), last)
    length = float(end_index - start_index) / segments
    return [int(start_index + length / 2 + np.round(length * i)) for i in range(segments)]


def open_video(path: Path) -> decord.VideoReader:
    return decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)


def facts(path: Path) -> dict:
    """`numbers` are of one reader from the first frame to the last, `seen` those that the model cards' load_video gets
    for `indices`, and the stored frames are of these. decord seeks by a list of key frames in decoding order, hidden
    ones among them, so the two may differ; with B-frames in AVI, and with MPEG-TS, it loses frames when it seeks."""
    video = open_video(path)
    count, rate = len(video), video.get_avg_fps()
    frames = [video[i].asnumpy() for i in range(count)]
    indices = get_index(None, rate, count - 1, 8)
    video = open_video(path)
    seen = [video[i].asnumpy() for i in indices]
    Image.fromarray(np.concatenate([seen[1], seen[-2]])).save(FOLDER / (path.name + ".png"), optimize=True)
    height, width, _ = frames[0].shape
    found = {"file": path.name, "frames": count, "frames_per_s": rate, "width": width, "height": height}
    if count >= 20:
        bound = (0.3, 0.6 * count / rate)
        found |= {"range_s": bound, "indices_of_range": get_index(bound, rate, count - 1, 4)}
    found["indices"] = indices
    found["uniform"] = np.linspace(0, count - 1, 7, dtype=int).tolist()
    if count > 1:
        found |= {"numbers": [number_of(rgb) for rgb in frames], "seen": [number_of(rgb) for rgb in seen]}
    return found


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    write_kinds()
    write_pixels()
    files = sorted(FOLDER.iterdir())
    write_refused()
    lines = ",\n".join(json.dumps(facts(path)) for path in files)
    (FOLDER / "video.json").write_text('{"decord": "%s", "videos": [\n%s\n]}\n' % (decord.__version__, lines))


if __name__ == "__main__":
    main()
