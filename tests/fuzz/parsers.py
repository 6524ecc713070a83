"""What is fuzzed: each parser of what others made, with how its input is damaged and what it may answer.

A parser's `run` returns, or raises RatError: that is what people are told.  Where a parser is documented to raise
something else (ValueError for BTF), that is named in `may_raise`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import mmap
import struct
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.mutation import changed, damaged, resized

CORPUS = Path(__file__).parent / "corpus"
SCRATCH = Path(tempfile.gettempdir())


@dataclass(frozen=True, slots=True)
class Parser:
    """One that is fuzzed.

    run: parses.  mutate: another input, made of one of the corpus.  size: bytes of an input beyond which it is not
    kept small.  seconds: of CPU time that it may take for any input of the corpus' size.
    """

    name: str
    run: Callable[[bytes], None]
    mutate: Callable[[Random, bytes], bytes]
    may_raise: tuple[type[Exception], ...] = ()
    seconds: float = 2.0
    seeds: Callable[[], list[bytes]] = field(default=list)

    def inputs(self) -> list[bytes]:
        """The corpus, what was found before included."""
        kept = [path.read_bytes() for path in sorted((CORPUS / self.name).glob("*"))]
        return [*self.seeds(), *kept]


def scratch(name: str, data: bytes) -> Path:
    """A file with this content."""
    path = SCRATCH / name
    path.write_bytes(data)
    return path


# ---------------------------------------------------------------- ELF and DWARF


def _image(data: bytes, kinds: tuple[str, ...] = ("ET_EXEC", "ET_DYN")) -> Any:
    from tracer.target.elf import ElfImage

    content = mmap.mmap(-1, max(len(data), 1))
    content[: len(data)] = data
    return ElfImage(Path("/fuzzed"), content, kinds)


def run_elf(data: bytes) -> None:
    """Headers, sections, symbols, build id and debug link; call frame information; split files; all of DWARF."""
    from tracer.rust import find_split_debug, read_binary
    from tracer.rust.forms import DwarfError
    from tracer.rust.packages import package_units
    from tracer.rust.units import split_units
    from tracer.target.call_frames import CallFrames
    from tracer.target.debugfile import SplitFiles, find_debug_file

    image = _image(data)
    root = Path("/proc/self/root/nowhere")
    find_debug_file(image, root)
    for segment in image.segments:
        image.read(segment.vaddr, 64)
        image.offset_of(segment.vaddr)
        image.vaddr_of(segment.offset)
    if image.frame_header is not None:
        frames = CallFrames(image.read_up_to, image.frame_header)
        for address in range(0x401000, 0x401200, 13):
            frames.row(address)
    with suppress(DwarfError):
        split_units(image)
    with suppress(DwarfError):
        package_units(image)
    split = find_split_debug(image, SplitFiles(image, root))
    read_binary(image, display_path="fuzzed", split=split)


def mutate_elf(random: Random, data: bytes) -> bytes:
    """One of its sections, more often one of DWARF; or the headers."""
    regions = elf_regions(data)
    for _ in range(random.choice((1, 1, 2, 3))):
        begin, end = random.choice(regions)
        data = damaged(random, data, begin, end)
    return data[: random.randrange(len(data))] if random.random() < 0.03 else data


def elf_regions(data: bytes) -> list[tuple[int, int]]:
    """(begin, end) of the header, of the section headers, and twice of each section.  Elf64_Ehdr, Elf64_Shdr."""
    found = [(16, 64 + 5 * 56)]
    with suppress(struct.error, IndexError):
        (offset,) = struct.unpack_from("<Q", data, 40)
        (count,) = struct.unpack_from("<H", data, 60)
        found.append((offset, offset + 64 * min(count, 64)))
        for number in range(min(count, 64)):
            place, size = struct.unpack_from("<QQ", data, offset + 64 * number + 24)
            if size > 0 and place + size <= len(data):
                found += [(place, place + size)] * 2
    return found


def run_core(data: bytes) -> None:
    """A core dump, of a program of the corpus."""
    import numpy as np

    from tracer.target.core import CoreMemory

    memory = CoreMemory(scratch("core", data), _image((CORPUS / "elf" / "bare").read_bytes()))
    mappings = memory.mappings()[:64]
    memory.threads()
    starts = np.array([m.start for m in mappings if m.start < 2**63], np.uint64)
    memory.fill(starts, np.full(len(starts), 64, np.uint64))
    for mapping in mappings:
        list(memory.resident(mapping))


def core_seeds() -> list[bytes]:
    """A dump of two mappings, with notes for the auxiliary vector, a thread and the name."""

    def note(kind: int, content: bytes) -> bytes:
        return struct.pack("<III", 5, len(content), kind) + b"CORE\0\0\0\0" + content + b"\0" * (-len(content) % 4)

    (entry,) = struct.unpack_from("<Q", (CORPUS / "elf" / "bare").read_bytes(), 24)
    name = struct.pack("<24xi12x16s80x", 7, b"bare")
    notes = note(6, struct.pack("<QQQQ", 9, entry, 0, 0)) + note(1, struct.pack("<32xi300x", 7)) + note(3, name)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 3, 64, 0, 0)
    at = 64 + 3 * 56
    parts = [(4, 0, at, 0, len(notes), 0), (1, 6, at + len(notes), 0x400000, 256, 4096)]
    parts += [(1, 6, at + len(notes) + 256, 0x7FFF0000, 256, 256)]
    for kind, flags, offset, address, size, memory in parts:
        header += struct.pack("<IIQQQQQQ", kind, flags, offset, address, 0, size, memory, 4)
    return [header + notes + (CORPUS / "elf" / "bare").read_bytes()[:256] + bytes(256)]


def run_frames(data: bytes) -> None:
    """.eh_frame and its table at address 0x1000, every byte chosen; then DWARF expressions."""
    from tracer.target.call_frames import CallFrames
    from tracer.target.cfa_expressions import evaluate

    def read(address: int, size: int) -> bytes:
        at = address - 0x1000
        return data[at : at + size] if 0 <= at < len(data) and size >= 0 else b""

    frames = CallFrames(read, 0x1000)
    for address in [*range(0x1000, 0x1000 + len(data), 16), *range(0x401000 - 0x3000, 0x401400 - 0x3000, 64)]:
        row = frames.row(address)
        if row is not None:
            for expression in (row.cfa, *(operand for _, _, operand in row.rules)):
                if isinstance(expression, bytes):
                    evaluate(expression, [0x7000] * 17, lambda at: at)
    for begin in range(0, min(len(data), 512), 7):
        evaluate(data[begin : begin + 64], [0x7000, None] * 9, lambda at: at & 0xFFFF)


def frame_seeds() -> list[bytes]:
    """.eh_frame_hdr and .eh_frame of the corpus' programs."""
    found = []
    for name in ("dwarf4", "bare"):
        image = _image((CORPUS / "elf" / name).read_bytes())
        begin, _ = image.section_range(".eh_frame_hdr")
        _, end = image.section_range(".eh_frame")
        found.append(bytes(image.data[begin:end]))
    return found


def run_lines(data: bytes) -> None:
    """A line program, and abbreviations, put in place of the corpus' own: of any length."""
    from tracer.rust.dwarf import Dwarf
    from tracer.rust.forms import DAMAGE, DwarfError, read_abbreviations
    from tracer.rust.lines import LineTables

    image = _image((CORPUS / "elf" / ("dwarf5" if data[:1] == b"5" else "dwarf4")).read_bytes())
    image._contents[".debug_line"] = data[1:]
    dwarf = Dwarf(image)
    lines = LineTables(dwarf)
    for unit in dwarf.units:
        for address in range(0x401000, 0x401200, 5):
            lines.location(unit, address)
            lines.places(unit, address, address + 32)
        for number in range(5):
            lines.file(unit, number)
    with suppress(DwarfError, *DAMAGE):
        read_abbreviations(data, 1)


def line_seeds() -> list[bytes]:
    """.debug_line of the corpus' programs, behind their version."""
    return [
        version.encode() + bytes(_image((CORPUS / "elf" / f"dwarf{version}").read_bytes()).section(".debug_line"))
        for version in "45"
    ]


# ---------------------------------------------------------------- names

NAME_TOKENS = (
    b"_R", b"_ZN", b"17h0123456789abcdefE", b"NvC", b"Nt", b"INt", b"B_", b"B0_", b"Bz_", b"MC", b"XC", b"Y", b"T",
    b"E", b"S", b"R", b"F", b"D", b"p", b"Kj1_", b"s_", b"u3", b"99999", b".llvm.123", b"$u7b$", b"$LT$", b"..",
    b"<", b">", b"(", b"[", b"{", b"::", b"{async_fn#0}", b"{closure#0}", b"&mut ", b" as ", b"->", b"dyn ",
    b"\xff", b"\x1b[2J", b",",
)  # fmt: skip


def run_names(data: bytes) -> None:
    """Demanglers, and what is made of names: future names, short names."""
    from tracer.model import FunctionKind
    from tracer.output.labels import short_awaitee, short_name_of
    from tracer.rust.demangle import demangle
    from tracer.rust.future_names import base_name, future_paths, stream_paths

    text = data.decode("utf-8", "replace")
    name = demangle(text)
    for one in (name, text):
        for kind in FunctionKind:
            short_name_of(one, kind)
        short_awaitee(one)
        base_name(one)
    future_paths(data)
    stream_paths(data)


NAME_SEEDS = [
    b"_ZN4seed6middle28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE",
    b"_RNCNvCs1234_7mycrate3foo0B3_",
    b"_RINvNtNtCs1_5tokio7runtime4task4pollNCNvCs2_6server4main0INtNtB4_9scheduler6HandleEEB2_",
    b"<tokio::task::Foo<a::b, (c, [d; 3])> as core::future::future::Future>::poll",
    b"core::pin::Pin<alloc::boxed::Box<dyn core::future::future::Future<Output = core::result::Result<(), E>>>>",
    b"f::join::Join<tk::deep<X>, tk::g::{async_block#1}>",
]


# ---------------------------------------------------------------- what we keep, and captures


class _Files:
    """Of OwnFiles what its readers use."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, _name: str) -> bytes:
        return self.content


def run_cache(data: bytes) -> None:
    """A remembered plan whose checksum is right."""
    from tracer.rust.cache import Cache

    cache = Cache(SCRATCH)
    payload = zlib.compress(data, 1)
    cache._files = _Files(b"RATBIN1\n" + hashlib.sha256(payload).digest() + payload)  # type: ignore[assignment]
    image = _image((CORPUS / "elf" / "dwarf4").read_bytes())
    cache.load(image, None, display_path="x", debug_path=None)


def cache_seeds() -> list[bytes]:
    """What is remembered of the corpus' programs."""
    from tracer.rust import read_binary
    from tracer.rust.cache import encode

    found = []
    for name in ("dwarf4", "dwarf5"):
        encoded = encode(read_binary(_image((CORPUS / "elf" / name).read_bytes()), display_path="x"))
        document = json.loads(zlib.decompress(encoded[40:]))
        document |= json.loads(zlib.decompress(encode(_everything())[40:])) if name == "dwarf5" else {}
        own = _image((CORPUS / "elf" / "dwarf4").read_bytes())
        found.append(json.dumps(document | {"build_id": own.build_id, "size": own.size}).encode())
    return found


def _everything() -> Any:
    from tests.captures import EVERYTHING

    return EVERYTHING.plan.binaries[0]


def mutate_json(random: Random, data: bytes) -> bytes:
    """Mostly a document with values that do not belong; now and then no document."""
    if random.random() < 0.1:
        return resized(random, data)
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return resized(random, data)
    for _ in range(random.choice((1, 1, 2, 5))):
        document = changed(random, document)
    return json.dumps(document).encode("utf-8", "replace")


def run_compiled(data: bytes) -> None:
    """A kept BPF program: the kernel's verifier judges it afterwards."""
    from tracer.probe.compiled import KeptPrograms, with_maps

    kept = KeptPrograms(_Files(zlib.compress(data)))  # type: ignore[arg-type]
    program = kept.load("0" * 64)
    if program is not None:
        for code in program.functions.values():
            with suppress(KeyError, ValueError):
                with_maps(code, {number: number + 3 for number in range(len(program.maps))})


def compiled_seeds() -> list[bytes]:
    """Two maps and a function that refers to one."""
    code = struct.pack("<BBhi", 0x18, 0x11, 0, 1) + bytes(8) + struct.pack("<BBhi", 0x95, 0, 0, 0)
    maps = [["events", 27, 0, 0, 1 << 22, 0], ["counts", 6, 4, 8, 3, 0]]
    return [json.dumps([maps, {"at_entry": base64.b64encode(code).decode()}]).encode()]


def run_capture(data: bytes) -> None:
    """Reader, assembly, findings, summary, printed tables, both writers."""
    from rich.console import Console

    from tracer.commands.convert import TraceOptions, convert
    from tracer.commands.report import summarise
    from tracer.output.printed_summary import print_summary

    path = scratch("x.ratcap", data)
    for format_ in ("perfetto", "chrome"):
        done = convert(path, SCRATCH / "x.out", TraceOptions(format_, max_slices=1000), lambda share: None)
        done.summary.as_json()
    with (SCRATCH / "printed").open("w", encoding="utf-8", errors="replace") as file:
        print_summary(summarise(path, quiet=True), Console(file=file))


def mutate_capture(random: Random, data: bytes) -> bytes:
    """Blocks with right checksums and wrong content, in any order; now and then just damage."""
    from tracer.capture import format as fmt

    if random.random() < 0.05:
        return resized(random, data)
    start, at, blocks = data[: fmt.FILE_HEADER.size], fmt.FILE_HEADER.size, []
    while (header := fmt.parse_block_header(data[at : at + fmt.BLOCK_HEADER_SIZE])) is not None:
        begin = at + fmt.BLOCK_HEADER_SIZE
        at = begin + header.payload_size
        blocks.append((header, data[begin:at]))
    if not blocks:
        return resized(random, data)
    for _ in range(random.choice((1, 1, 2, 4))):
        number = random.randrange(len(blocks)) if random.random() < 0.8 else 0
        header, payload = blocks[number]
        way = random.random()
        if way < 0.75:
            payload = damaged(random, payload) if header.tag == fmt.EVENTS or way < 0.4 else resized(random, payload)
            blocks[number] = header, payload
        elif way < 0.85 and number:
            del blocks[number]
        else:
            blocks.insert(random.randrange(1, len(blocks) + 1), blocks[random.randrange(len(blocks))])
    return start + b"".join(_packed(header, payload) for header, payload in blocks)


def _packed(header: Any, payload: bytes) -> bytes:
    from dataclasses import replace

    count = len(payload) // max(header.record_size, 1)
    payload = payload[: count * max(header.record_size, 1)]
    return replace(header, count=count, crc=zlib.crc32(payload)).pack() + payload if header.record_size else b""


def capture_seeds() -> list[bytes]:
    """The golden captures."""
    return [path.read_bytes() for path in sorted((CORPUS.parents[1] / "golden").glob("*.ratcap"))]


def run_report(data: bytes) -> None:
    """The summary out of a trace, and printed."""
    from rich.console import Console

    from tracer.output.carried import print_carried, read_summary

    document = read_summary(scratch("x.pftrace", data))
    json.dumps(document)
    with (SCRATCH / "printed").open("w", encoding="utf-8", errors="replace") as file:
        print_carried(document, Path("x.pftrace"), Console(file=file))


def mutate_report(random: Random, data: bytes) -> bytes:
    """The document, with its length and checksum made right; or just damage."""
    if random.random() < 0.15:
        return resized(random, data) if random.random() < 0.3 else damaged(random, data, max(0, len(data) - 4000))
    begin = data.find(b'{"schema"')
    end = data.rfind(b"}") + 1
    if begin < 0:
        return resized(random, data)
    return report_file(mutate_json(random, data[begin:end]))


def report_file(document: bytes) -> bytes:
    """A trace of one packet that carries a document."""

    def field_(number: int, content: bytes | int) -> bytes:
        if isinstance(content, int):
            return _varint(number << 3) + _varint(content)
        return _varint(number << 3 | 2) + _varint(len(content)) + content

    first = field_(1, field_(11, field_(23, b"rat-ebpf")))
    text = field_(4, field_(10, b"document") + field_(6, document))
    check = field_(4, field_(10, b"crc32") + field_(4, zlib.crc32(document)))
    return first + field_(1, field_(11, field_(23, b"summary") + text + check))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def report_seeds() -> list[bytes]:
    """The summaries of the golden captures."""
    from tracer.commands.report import summarise
    from tracer.output.carried import text_of

    found = []
    for data in capture_seeds():
        found.append(report_file(text_of(summarise(scratch("x.ratcap", data), quiet=True)).encode()))
    return found


# ---------------------------------------------------------------- process and kernel


def run_memory(data: bytes) -> None:
    """Tasks decoded out of memory whose every word, and layouts whose every edge, is chosen by the input."""
    from tests.property import test_snapshot

    test_snapshot.test_no_memory_leads_astray.hypothesis.fuzz_one_input(data)  # type: ignore[attr-defined]


def run_proc(data: bytes) -> None:
    """What /proc says: the process chose its name, its arguments and the paths."""
    from tracer.target.memory_map import bias_from_auxiliary_vector, parse_maps
    from tracer.target.process import Stat

    kind, _, text = data.partition(b"|")
    if kind == b"stat":
        Stat.parse(text)
    elif kind == b"maps":
        parse_maps(text)
    else:
        bias_from_auxiliary_vector(text, bytes(64))


PROC_SEEDS = [
    b"stat|7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 1 2 0 0 20 0 3 0 12345 1000 200 18446744073709551615 1 1 1 0 0 0 0 "
    b"0 0 0 0 0 17 0 0",
    b"maps|00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/a\\012b (deleted)\n"
    b"7ffd1000-7ffd2000 rw-p 00000000 00:00 0  [stack]\n",
    b"auxv|" + struct.pack("<QQQQ", 9, 0x401000, 0, 0),
]


def mutate_proc(random: Random, data: bytes) -> bytes:
    """The kernel writes these: only what the process chose (its name, the paths) is damaged."""
    kind, _, text = data.partition(b"|")
    if kind == b"auxv":
        return b"auxv|" + resized(random, text)
    junk = bytes(random.randrange(1, 256) for _ in range(random.randrange(1, 16)))
    junk = random.choice((junk, b") S 1 ", b"(deleted)", b"\x1b[2J", b" ", b"\xff\xfe", b"\\012", b"a" * 4000)).replace(
        b"\n", b""
    )
    if kind == b"stat":
        begin, end = text.find(b"(") + 1, text.rfind(b")")
        return b"stat|" + text[:begin] + junk + text[begin:end][: random.randrange(20)] + text[end:]
    begin = text.rfind(b"/") + 1
    return b"maps|" + text[:begin] + junk + text[begin:]


def run_btf(data: bytes) -> None:
    """The kernel's types.  They are the kernel's own; whoever boots a kernel is trusted."""
    from tracer.probe.btf import KernelTypes

    types = KernelTypes(data)
    types.member("task", "pid")
    types.parameters("call")
    types.constants("kinds")


def btf_seeds() -> list[bytes]:
    """A structure with a number and one without a name inside, an enumeration, a pointer to a function."""
    strings = b"\0task\0pid\0call\0kinds\0ONE\0int\0"
    at = {
        word: strings.index(b"\0" + word + b"\0") + 1 for word in (b"task", b"pid", b"call", b"kinds", b"ONE", b"int")
    }
    words = [
        at[b"int"], 1 << 24, 4, 32,
        0, 4 << 24 | 1, 4, at[b"pid"], 1, 0,
        at[b"task"], 4 << 24 | 1, 8, 0, 2, 0,
        at[b"kinds"], 6 << 24 | 1, 4, at[b"ONE"], 1,
        0, 13 << 24 | 1, 0, 0, 6,
        0, 2 << 24, 3,
        0, 2 << 24, 5,
        at[b"call"], 8 << 24, 7,
    ]  # fmt: skip
    types = struct.pack(f"<{len(words)}I", *words)
    return [struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings]


def grown(random: Random, data: bytes) -> bytes:
    """Any bytes, for what reads them as choices."""
    return (
        random.randbytes(random.choice((200, 1000, 4000)))
        if random.random() < 0.5 or not data
        else resized(random, data)
    )


PARSERS = {
    parser.name: parser
    for parser in (
        Parser("elf", run_elf, mutate_elf),
        Parser("core", run_core, mutate_elf, seeds=core_seeds),
        Parser("frames", run_frames, damaged, seeds=frame_seeds),
        Parser("lines", run_lines, resized, seeds=line_seeds),
        Parser("names", run_names, lambda r, d: resized(r, d, NAME_TOKENS)[:20_000], seeds=lambda: NAME_SEEDS),
        Parser("cache", run_cache, mutate_json, seeds=cache_seeds),
        Parser("compiled", run_compiled, mutate_json, seeds=compiled_seeds),
        Parser("capture", run_capture, mutate_capture, seeds=capture_seeds, seconds=4),
        Parser("report", run_report, mutate_report, seeds=report_seeds),
        Parser("memory", run_memory, grown, seeds=lambda: [bytes(1000)], seconds=4),
        Parser("proc", run_proc, mutate_proc, seeds=lambda: PROC_SEEDS),
        Parser("btf", run_btf, damaged, (ValueError,), seeds=btf_seeds),
    )
}
