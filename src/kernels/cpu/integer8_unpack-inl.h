// kernels/cpu/integer8_unpack-inl.h: the common quantised types taken apart, 16 columns at a time,
// for whoever takes the values: a panel (ToPanel), or products that need no panel. Included by each
// instruction set's file, in its namespace, after
//
//   Words                 16 words of 32 bits, one of each column
//   load_words, load_pairs, load_quarters   64 bytes of every row, transposed to Words t[16]
//   load_header           16 bytes of every row, transposed to Words t[4]
//   all, bits_of, left, either, exclusive, minus, look_up, store, store_halves
//
// An Out has `panel`, whose scales, minima, d and low are written before the values they belong to,
// and values(first, i, w): w is line first + i of the panel, both constants once the compiler has
// unrolled; the lines of a sub-block come in order, a block's sub-blocks too or two by two.
// upper_nibbles(first, i, w) likewise: the upper half of every byte of w.
//
// Layouts: block_decode.cc, whose values these are (integer8_test.cc compares every type).
#pragma once

// Into a panel.
struct ToPanel {
  Panel& panel;
  DURE_INLINE void values(int first, int i, Words w) { store(panel.values[first + i], w); }
  DURE_INLINE void upper_nibbles(int first, int i, Words w) {
    values(first, i, bits_of(w, 4, 0x0f0f0f0f));
  }
};

constexpr int kNibbles = 0x0f0f0f0f, kTwoBits = 0x03030303, kOneBit = 0x01010101,
              kFifth = 0x10101010;

// Byte i of words[i / 4] of every column.
DURE_INLINE Words byte_of(const Words* words, int i) {
  return bits_of(words[i / 4], i % 4 * 8, 255);
}

// An f16 at `offset` of each row, or (with kSign) minus it.
constexpr uint16_t kSign = 0x8000;
template <uint16_t kFlipped = 0>
DURE_INLINE void unpack_halves(const PanelRows& rows, int64_t offset, float* out) {
  alignas(32) uint16_t bits[16];
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) {
    std::memcpy(bits + r, rows.at[r] + offset, 2);
    if constexpr (kFlipped != 0) bits[r] ^= kFlipped;
  }
  store_halves(out, bits);
}

// The bits of `mask` of w moved down, or (shift below 0) up.
DURE_INLINE Words moved(Words w, int shift, int mask) {
  return shift >= 0 ? bits_of(w, shift, mask) : bits_of(left(w, -shift), 0, mask);
}

// Bytes of four sub-blocks of every column: as 32-bit scales, as pairs of 16-bit minima.
DURE_INLINE void store_scales(Words bytes, int first, Panel& panel) {
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) store(panel.scales[first + j], bits_of(bytes, 8 * j, 255));
}
DURE_INLINE void store_minima(Words bytes, int first, Panel& panel) {
  store(panel.minima[first / 2], either(bits_of(bytes, 0, 255), moved(bytes, -8, 0xff0000)));
  store(panel.minima[first / 2 + 1], either(bits_of(bytes, 16, 255), moved(bytes, 8, 0xff0000)));
}

// d, low and the six-bit scales and minima of Q4_K and Q5_K.
DURE_INLINE void unpack_k_scales(const PanelRows& rows, Panel& panel) {
  constexpr int kSix = 0x3f3f3f3f, kUpperTwo = 0x30303030;
  Words h[4];
  load_header(rows, 0, h);
  store_halves(panel.d[0], bits_of(h[0], 0, 0xffff));
  store_halves(panel.low[0], bits_of(h[0], 16, 0xffff));
  store_scales(bits_of(h[1], 0, kSix), 0, panel);
  store_minima(bits_of(h[2], 0, kSix), 0, panel);
  store_scales(either(bits_of(h[3], 0, kNibbles), moved(h[1], 2, kUpperTwo)), 4, panel);
  store_minima(either(bits_of(h[3], 4, kNibbles), moved(h[2], 2, kUpperTwo)), 4, panel);
}

template <typename Out>
DURE_INLINE void unpack_q4_k(const PanelRows& rows, Out& out) {
  unpack_k_scales(rows, out.panel);
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    Words t[16];
    load_words(rows, 16 + 64 * half, t);
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) {
      const int line = j / 8 * 16 + j % 8;
      out.values(32 * half, line, bits_of(t[j], 0, kNibbles));
      out.upper_nibbles(32 * half, line + 8, t[j]);
    }
  }
}

// 32 bytes of nibbles: sub-blocks 2c and 2c + 1, with the fifth bits of `high`.
template <typename Out>
DURE_INLINE void take_q5(const Words* t, const Words* high, int c, Out& out) {
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    out.values(16 * c, j, either(bits_of(t[j], 0, kNibbles), moved(high[j], 2 * c - 4, kFifth)));
    out.values(16 * c, j + 8,
               either(bits_of(t[j], 4, kNibbles), moved(high[j], 2 * c - 3, kFifth)));
  }
}

template <typename Out>
DURE_INLINE void unpack_q5_k(const PanelRows& rows, Out& out) {
  unpack_k_scales(rows, out.panel);
  Words first[16], rest[16];
  load_words(rows, 16, first);  // The fifth bits, then the first 32 bytes of nibbles.
  take_q5(first + 8, first, 0, out);
  load_words(rows, 80, rest);
  take_q5(rest, first, 1, out);
  take_q5(rest + 8, first, 2, out);
  load_words(rows, 112, rest);  // Again, so as not to read beyond the block.
  take_q5(rest + 8, first, 3, out);
}

template <typename Out>
DURE_INLINE void unpack_q6_k(const PanelRows& rows, Out& out) {
  Panel& panel = out.panel;
  unpack_halves(rows, 208, panel.d[0]);
  Words h[4];
  load_header(rows, 192, h);
#pragma GCC unroll 16
  for (int j = 0; j < 16; ++j)
    store(panel.scales[j], minus(exclusive(byte_of(h, j), all(128)), all(128)));
  Words high[16];
  load_words(rows, 128, high);
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    Words low[16];
    load_words(rows, 64 * half, low);
#pragma GCC unroll 32
    for (int i = 0; i < 32; ++i) {
      const int part = i / 8, j = i % 8;
      const Words nibble = bits_of(low[part % 2 * 8 + j], part / 2 * 4, kNibbles);
      out.values(32 * half, i, either(nibble, moved(high[8 * half + j], 2 * part - 4, 0x30303030)));
    }
  }
}

template <typename Out>
DURE_INLINE void unpack_q2_k(const PanelRows& rows, Out& out) {
  Panel& panel = out.panel;
  unpack_halves(rows, 80, panel.d[0]);
  unpack_halves(rows, 82, panel.low[0]);
  Words h[4], t[16];
  load_header(rows, 0, h);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    store_scales(bits_of(h[j], 0, kNibbles), 4 * j, panel);
    store_minima(bits_of(h[j], 4, kNibbles), 4 * j, panel);
  }
  load_words(rows, 16, t);
#pragma GCC unroll 64
  for (int i = 0; i < 64; ++i)
    out.values(0, i, bits_of(t[i / 32 * 8 + i % 8], i % 32 / 8 * 2, kTwoBits));
}

// The six-bit scales of Q3_K, less 32; s: three words of bytes.
DURE_INLINE void unpack_q3_scales(const Words* s, Panel& panel) {
#pragma GCC unroll 16
  for (int j = 0; j < 16; ++j) {
    const Words low = bits_of(byte_of(s, j % 8), j / 8 * 4, 15);
    const Words high = bits_of(byte_of(s, 8 + j % 4), j / 4 * 2, 3);
    store(panel.scales[j], minus(either(low, left(high, 4)), all(32)));
  }
}

template <typename Out>
DURE_INLINE void unpack_q3_k(const PanelRows& rows, Out& out) {
  Panel& panel = out.panel;
  unpack_halves(rows, 108, panel.d[0]);
  Words h[4], first[16], rest[16];
  load_header(rows, 92, h);
  unpack_q3_scales(h + 1, panel);
  load_words(rows, 0, first);  // Third bits, then the first half's two bits.
  load_words(rows, 44, rest);  // The second half's from word 5 on.
#pragma GCC unroll 64
  for (int i = 0; i < 64; ++i) {
    const int j = i % 8;
    const Words two = bits_of(i < 32 ? first[8 + j] : rest[5 + j], i % 32 / 8 * 2, kTwoBits);
    out.values(0, i, either(two, moved(first[j], i / 8 - 2, 0x04040404)));
  }
}

// kLevels4 + 128.
alignas(16) constexpr uint8_t kShiftedLevels[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                                    129, 141, 153, 166, 181, 197, 217, 241};

// Four groups of 16 bytes: low nibbles are the first half of 32 elements, high ones the second.
// value(nibbles, line from the first group's on).
template <typename Value, typename Out>
DURE_INLINE void take_split_nibbles(const Words* t, int group, Value value, Out& out) {
#pragma GCC unroll 32
  for (int i = 0; i < 32; ++i) {
    const Words w = bits_of(t[i / 8 * 4 + i % 4], i % 8 / 4 * 4, kNibbles);
    out.values(8 * group, i, value(w, i));
  }
}

DURE_INLINE Words level(Words codes) { return look_up(kShiftedLevels, codes); }

template <typename Out>
DURE_INLINE void unpack_iq4_xs(const PanelRows& rows, Out& out) {
  Panel& panel = out.panel;
  Words h[4];
  load_header(rows, 0, h);
  store_halves(panel.d[0], bits_of(h[0], 0, 0xffff));
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    const Words low = bits_of(h[1], 4 * j, 15), high = bits_of(h[0], 16 + 2 * j, 3);
    store(panel.scales[j], minus(either(low, left(high, 4)), all(32)));
  }
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    Words t[16];
    load_words(rows, 8 + 64 * half, t);
    take_split_nibbles(
        t, 4 * half, [](Words w, int) DURE_LAMBDA_INLINE { return level(w); }, out);
  }
}

template <typename Out>
DURE_INLINE void unpack_q8_0(const PanelRows& rows, Out& out) {
  Panel& panel = out.panel;
#pragma GCC unroll 4
  for (int b = 0; b < 8; b += 2) {
    unpack_halves(rows, 34 * b, panel.d[b]);
    unpack_halves(rows, 34 * b + 34, panel.d[b + 1]);
    Words t[16];
    load_pairs(rows, 34 * b + 2, 34 * b + 36, t);
    const Words sign = all(static_cast<int>(0x80808080));
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) out.values(8 * b, j, exclusive(t[j], sign));
  }
}

// Where the parts of a block of 32 lie: d first, perhaps a minimum, perhaps fifth bits, then 16
// bytes of nibbles.
struct NibbleBlock {
  int bytes, nibbles;
  int minimum = 0, fifth = 0;  // 0: none
};

// The fifth bits of four elements, from the bit `first` of the block's 32 on.
DURE_INLINE Words fifth_bits(Words all_bits, int first) {
  const Words four = bits_of(all_bits, first, 15);
  const Words spread = either(either(four, left(four, 7)), either(left(four, 14), left(four, 21)));
  return left(bits_of(spread, 0, kOneBit), 4);
}

template <NibbleBlock kBlock, typename Value, typename Out>
DURE_INLINE void unpack_nibble_blocks(const PanelRows& rows, Value value, Out& out) {
  Panel& panel = out.panel;
#pragma GCC unroll 2
  for (int b = 0; b < 8; b += 4) {
    Words high[4], t[16];
    for (int i = b; i < b + 4; ++i) {
      unpack_halves(rows, kBlock.bytes * i, panel.d[i]);
      if constexpr (kBlock.minimum > 0)
        unpack_halves<kSign>(rows, kBlock.bytes * i + kBlock.minimum, panel.low[i]);
      Words header[4];
      if constexpr (kBlock.fifth > 0) load_header(rows, kBlock.bytes * i + kBlock.fifth, header);
      if constexpr (kBlock.fifth > 0) high[i - b] = header[0];
    }
    load_quarters(rows, kBlock.bytes * b + kBlock.nibbles, kBlock.bytes, t);
    const auto whole = [&](Words w, int line) DURE_LAMBDA_INLINE {
      if constexpr (kBlock.fifth == 0) return value(w);
      return either(w, fifth_bits(high[line / 8], line % 8 * 4));
    };
    take_split_nibbles(t, b, whole, out);
  }
}

DURE_INLINE Words as_it_is(Words w) { return w; }
template <typename Out>
DURE_INLINE void unpack_q4_0(const PanelRows& rows, Out& out) {
  unpack_nibble_blocks<NibbleBlock{18, 2}>(rows, as_it_is, out);
}
template <typename Out>
DURE_INLINE void unpack_q4_1(const PanelRows& rows, Out& out) {
  unpack_nibble_blocks<NibbleBlock{20, 4, 2}>(rows, as_it_is, out);
}
template <typename Out>
DURE_INLINE void unpack_q5_0(const PanelRows& rows, Out& out) {
  unpack_nibble_blocks<NibbleBlock{22, 6, 0, 2}>(rows, as_it_is, out);
}
template <typename Out>
DURE_INLINE void unpack_q5_1(const PanelRows& rows, Out& out) {
  unpack_nibble_blocks<NibbleBlock{24, 8, 2, 4}>(rows, as_it_is, out);
}
template <typename Out>
DURE_INLINE void unpack_iq4_nl(const PanelRows& rows, Out& out) {
  unpack_nibble_blocks<NibbleBlock{18, 2}>(rows, level, out);
}

// As integer_block.cc takes MXFP4 apart: doubled E2M1 codes, 16 added.
alignas(16) constexpr uint8_t kShiftedE2M1[16] = {16, 17, 18, 19, 20, 22, 24, 28,
                                                  16, 15, 14, 13, 12, 10, 8,  4};

// 2^(byte - 128) of each row's byte at `offset`; the two smallest are no normal numbers.
DURE_INLINE void unpack_powers(const PanelRows& rows, int64_t offset, float* out) {
#pragma GCC unroll 16
  for (int r = 0; r < 16; ++r) {
    const auto exponent = static_cast<uint8_t>(rows.at[r][offset]);
    const uint32_t bits =
        exponent < 2 ? uint32_t{0x00200000} << exponent : (uint32_t{exponent} - 1) << 23;
    std::memcpy(out + r, &bits, sizeof(bits));
  }
}

template <typename Out>
DURE_INLINE void unpack_mxfp4(const PanelRows& rows, Out& out) {
#pragma GCC unroll 2
  for (int b = 0; b < 8; b += 4) {
    for (int i = b; i < b + 4; ++i) unpack_powers(rows, 17 * i, out.panel.d[i]);
    Words t[16];
    load_quarters(rows, 17 * b + 1, 17, t);
    take_split_nibbles(
        t, b, [](Words w, int) DURE_LAMBDA_INLINE { return look_up(kShiftedE2M1, w); }, out);
  }
}

[[maybe_unused]] void unpack(DType dtype, const PanelRows& rows, int elements, Panel& panel) {
  if (elements < kPanelElements) return unpack_generic(dtype, rows, elements, panel);
  ToPanel out{panel};
  switch (dtype) {
    case DType::kQ8_0:
      return unpack_q8_0(rows, out);
    case DType::kQ4_0:
      return unpack_q4_0(rows, out);
    case DType::kQ4_1:
      return unpack_q4_1(rows, out);
    case DType::kQ5_0:
      return unpack_q5_0(rows, out);
    case DType::kQ5_1:
      return unpack_q5_1(rows, out);
    case DType::kIQ4_NL:
      return unpack_iq4_nl(rows, out);
    case DType::kMXFP4:
      return unpack_mxfp4(rows, out);
    case DType::kIQ4_XS:
      return unpack_iq4_xs(rows, out);
    case DType::kQ2_K:
      return unpack_q2_k(rows, out);
    case DType::kQ3_K:
      return unpack_q3_k(rows, out);
    case DType::kQ4_K:
      return unpack_q4_k(rows, out);
    case DType::kQ5_K:
      return unpack_q5_k(rows, out);
    case DType::kQ6_K:
      return unpack_q6_k(rows, out);
    default:
      return unpack_generic(dtype, rows, elements, panel);
  }
}
