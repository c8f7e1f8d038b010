#!/usr/bin/env python3
"""Gives a slice (`dure bench --make-slice`, which has no tokenizer) the tokenizer of another model, so that servers take it: usage
slice_tokenizer.py SLICE.gguf MODEL.gguf OUT.gguf. Ids beyond the other's vocabulary get words of their own ("<w123>"); data are copied."""
import shutil
import struct
import sys

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY, UINT32, INT32 = 8, 9, 4, 5


class Reader:
    def __init__(self, path):
        self.file = open(path, 'rb')
        magic, self.version, self.tensors, self.pairs = struct.unpack('<4sIQQ', self.file.read(24))
        if magic != b'GGUF':
            raise SystemExit(f'{path}: no GGUF file')
        self.metadata = {}
        for _ in range(self.pairs):
            key = self.string()
            kind = self.number('<I')
            self.metadata[key] = (kind, self.value(kind))
        self.infos = b''.join(self.info() for _ in range(self.tensors))

    def number(self, form):
        return struct.unpack(form, self.file.read(struct.calcsize(form)))[0]

    def string(self):
        return self.file.read(self.number('<Q'))

    def value(self, kind):
        """The value's bytes, as stored; of an array (kind, count, items), strings one by one."""
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            return self.file.read(SIZES[kind])
        inner, count = self.number('<I'), self.number('<Q')
        if inner == STRING:
            return inner, [self.string() for _ in range(count)]
        raw = self.file.read(SIZES[inner] * count)
        return inner, [raw[i:i + SIZES[inner]] for i in range(0, len(raw), SIZES[inner])]

    def info(self):
        name = self.string()
        dimensions = self.number('<I')
        return struct.pack('<Q', len(name)) + name + struct.pack('<I', dimensions) + self.file.read(8 * dimensions + 4 + 8)

    def alignment(self):
        kind, raw = self.metadata.get(b'general.alignment', (UINT32, struct.pack('<I', 32)))
        return struct.unpack('<I', raw)[0]


def packed(value):
    if isinstance(value, bytes):
        return struct.pack('<Q', len(value)) + value
    inner, items = value
    return struct.pack('<IQ', inner, len(items)) + b''.join(packed(i) if inner == STRING else i for i in items)


def main():
    slice_, model = Reader(sys.argv[1]), Reader(sys.argv[2])
    metadata = {k: v for k, v in slice_.metadata.items() if not k.startswith(b'tokenizer.')}
    metadata |= {k: v for k, v in model.metadata.items() if k.startswith(b'tokenizer.')}
    architecture = slice_.metadata[b'general.architecture'][1]
    size = struct.unpack('<I', slice_.metadata[architecture + b'.vocab_size'][1])[0]
    have = len(metadata[b'tokenizer.ggml.tokens'][1][1])
    more = {b'tokenizer.ggml.tokens': lambda i: b'<w%d>' % i, b'tokenizer.ggml.token_type': lambda i: struct.pack('<i', 1),
            b'tokenizer.ggml.scores': lambda i: struct.pack('<f', 0)}
    for key, made in more.items():
        if key in metadata:
            kind, (inner, items) = metadata[key]
            metadata[key] = (kind, (inner, items + [made(i) for i in range(have, size)]))
    with open(sys.argv[3], 'wb') as out:
        out.write(struct.pack('<4sIQQ', b'GGUF', slice_.version, slice_.tensors, len(metadata)))
        for key, (kind, value) in metadata.items():
            scalar = kind not in (STRING, ARRAY)
            out.write(struct.pack('<Q', len(key)) + key + struct.pack('<I', kind) + (value if scalar else packed(value)))
        out.write(slice_.infos)
        step = slice_.alignment()
        out.write(b'\0' * (-out.tell() % step))
        slice_.file.seek(-(-slice_.file.tell() // step) * step)
        shutil.copyfileobj(slice_.file, out, 1 << 24)


main()
