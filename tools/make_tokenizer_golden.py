#!/usr/bin/env python3
"""Makes tests/golden/tokenizer with the `tokenizers` library: the same layout as any other golden set of that kind.

Usage: make_tokenizer_golden.py OUT [--seed 1]     (needs `tokenizers`; bench_tokenizer_peer.py says which version and makes a venv)

Stage one is the library's own trainer; stage two a plain greedy trainer in this file that recounts every pair for each merge.
"""
import argparse
import collections
import json
import pathlib
import random
import re
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"
SUPER = WORDS.replace(r"(?:\p{L}\p{M}*)+", r"(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+")
SPECIAL = ["[PAD]", "[BOS]", "[EOS]", "[UNK]", "<|user|>", "<|endofturn|>", "<think>", "</think>"]
ADDED = [("<l>", dict(lstrip=True)), ("<r>", dict(rstrip=True)), ("<b>", dict(lstrip=True, rstrip=True)), ("one", dict(single_word=True)),
         ("nin\u0303o", {}), ("<raw>", dict(normalized=False)), ("<ctl>", dict(lstrip=True, normalized=False, special=True))]
NOUNS = {
    "en": ("the", "of a", "river boat garden door letter market winter road bread song one".split(), "is has found sees keeps".split()),
    "ko": ("이", "그", "강 배 정원 문 편지 시장 겨울 길 빵 노래".split(), "있다 본다 찾았다 남는다".split()),
    "es": ("el", "de un", "río barco jardín niño carta mercado invierno camino pan canción".split(), "es tiene halló ve".split()),
    "de": ("der", "mit dem", "Fluss Boot Garten Schlüssel Brief Markt Winter Straße Brot Lied".split(), "ist hat fand sieht".split()),
    "vi": ("một", "của", "sông thuyền vườn cửa thư chợ mùa đường bánh bài".split(), "là có thấy giữ".split()),
    "ja": ("その", "の", "川 船 庭 扉 手紙 市場 冬 道 パン 歌".split(), "です ある 見る 残る".split()),
}


def sentence(rng):
    language = rng.choice(list(NOUNS))
    article, joint, nouns, verbs = NOUNS[language]
    gap = "" if language == "ja" else " "
    words = [article, rng.choice(nouns), joint, rng.choice(nouns), rng.choice(verbs), rng.choice(nouns)]
    text = gap.join(words) + rng.choice([".", "!", " (1984).", ", don't!", ":\t" + str(rng.randrange(10**6)), ""])
    return unicodedata.normalize("NFD", text) if rng.random() < 0.1 else text


def stage(tokenizer, pattern):
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def merges_of(tokenizer):
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in merges]


def go_on(lines, words, size):
    """Greedy merges on superword pieces, encoded with stage one's merges; ties to the smallest (left id, right id)."""
    vocab, merges = dict(words.get_vocab()), merges_of(words)
    encoder = stage(Tokenizer(models.BPE(vocab=vocab, merges=merges)), SUPER)
    counts = collections.Counter()
    for line in lines:
        for piece, _ in encoder.pre_tokenizer.pre_tokenize_str(unicodedata.normalize("NFC", line)):
            counts[tuple(t.id for t in encoder.model.tokenize(piece))] += 1
    names = {i: t for t, i in vocab.items()}
    pieces = [(list(p), c) for p, c in counts.items()]
    while len(vocab) < size:
        pairs = collections.Counter()
        for ids, count in pieces:
            for pair in zip(ids, ids[1:]):
                pairs[pair] += count
        (left, right), _ = min(pairs.items(), key=lambda item: (-item[1], item[0]))
        merges.append((names[left], names[right]))
        new = vocab.setdefault(names[left] + names[right], len(vocab))
        names[new] = names[left] + names[right]
        for k, (ids, count) in enumerate(pieces):
            out = []
            for i in ids:
                if out and out[-1] == left and i == right:
                    out[-1] = new
                else:
                    out.append(i)
            pieces[k] = (out, count)
    return vocab, merges


def nasty(rng, lines):
    bits = ["[EOS]", "<think>", " <l>", "<r>  ", " <b>\t", "one", "one's", "ones", "niño", "nin\u0303o", "<raw>", "  <ctl>", "'S", "'\u017f", "\r\n", "\n\n ", "\u3000",
            "\u00a0x", "²", "½7", "#/", " //\n", "e\u0301\u0316", "\u1112\u1161\u11ab", "\u212b", "\u0958", "👩‍👧", "\u200d", "ΐ", "\u0345\u0301", "\U0001e4ec", "\ufeff"]
    text = ""
    for _ in range(rng.randrange(1, 9)):
        kind = rng.random()
        if kind < 0.45:
            text += rng.choice(bits)
        elif kind < 0.8:
            line = rng.choice(lines)
            at = rng.randrange(len(line))
            text += line[at:at + rng.randrange(1, 12)]
        else:
            code = rng.choice([rng.randrange(0x20, 0x3000), rng.randrange(0x20, 0x110000)])
            text += "x" if 0xD800 <= code < 0xE000 else chr(code)
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    lines = [" ".join(sentence(rng) for _ in range(rng.randrange(1, 4))) for _ in range(400)]
    (args.out / "corpus.txt").write_bytes("".join(line + "\n" for line in lines).encode())
    words = stage(Tokenizer(models.BPE()), WORDS)
    words.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=520, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    vocab, merges = go_on(lines, words, 660)
    superwords = stage(Tokenizer(models.BPE(vocab=vocab, merges=merges)), SUPER)
    superwords.add_special_tokens([AddedToken(s, normalized=False, special=True) for s in SPECIAL])
    for content, flags in ADDED:
        special = flags.get("special", False)
        (superwords.add_special_tokens if special else superwords.add_tokens)([AddedToken(content, **flags)])
    written = json.loads(words.to_str())
    written["model"]["merges"] = [" ".join(m) for m in merges_of(words)]
    dump = lambda name, value: (args.out / name).write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
    dump("words.tokenizer.json", written)
    dump("super.tokenizer.json", json.loads(superwords.to_str()))
    dump("training.json", dict(words_pattern=WORDS, super_pattern=SUPER, special=SPECIAL, words_size=520, super_size=len(vocab),
                               superwords=sum(bool(re.search("[^Ġ]Ġ", t)) for t in vocab)))
    rows = []
    for text in ["", " ", "\n", "\r\n \n x"] + [nasty(rng, lines) for _ in range(300)]:
        ids = superwords.encode(text).ids
        superwords.encode_special_tokens = True
        as_text = superwords.encode(text).ids
        superwords.encode_special_tokens = False
        rows.append(json.dumps(dict(text=text, words=words.encode(text).ids, super=ids, super_special_as_text=as_text,
                                    decoded=superwords.decode(ids, skip_special_tokens=False), decoded_without_special=superwords.decode(ids))))
    (args.out / "vectors.jsonl").write_text("\n".join(rows) + "\n")
    units = []
    for unit, repeat in [("a", 20000), ("ab ", 7000), ("강", 6000), (" ", 5000), ("\u0301", 3000), ("the river boat ", 1500)]:
        ids = superwords.encode(unit * repeat).ids
        mixed = 0
        for i in ids:
            mixed = (mixed * 1000003 + i) % 2**61
        units.append(dict(unit=unit, repeat=repeat, count=len(ids), first=ids[:8], last=ids[-8:], hash=mixed))
    dump("long.json", units)


if __name__ == "__main__":
    main()
