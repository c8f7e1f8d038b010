// kernels/cpu/integer8_unpack-inl.h: the common quantised types taken apart into a panel, 16
// columns at a time; included by each instruction set's file, in its namespace, after
//
//   Words                 16 words of 32 bits, one of each column
//   load_words, load_pairs, load_quarters   64 bytes of every row, transposed to Words t[16]
//   load_header           16 bytes of every row, transposed to Words t[4]
//   all, bits_of, left, either, exclusive, minus, look_up, store, store_halves
//
// Layouts: block_decode.cc, whose values these are (integer8_test.cc compares every type).
#pragma once

constexpr int kNibbles = 0x0f0f0f0f, kTwoBits = 0x03030303, kOneBit = 0x01010101;

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

DURE_INLINE void store_minima(const Words* minima, int pairs, Panel& panel) {
  for (int p = 0; p < pairs; ++p)
    store(panel.minima[p], either(minima[2 * p], left(minima[2 * p + 1], 16)));
}

// d, low and the six-bit scales and minima of Q4_K and Q5_K.
DURE_INLINE void unpack_k_scales(const PanelRows& rows, Panel& panel) {
  Words h[4], minima[8];
  load_header(rows, 0, h);
  store_halves(panel.d[0], bits_of(h[0], 0, 0xffff));
  store_halves(panel.low[0], bits_of(h[0], 16, 0xffff));
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const Words first = byte_of(h + 1, j), second = byte_of(h + 1, j + 4),
                third = byte_of(h + 1, j + 8);
    store(panel.scales[j], bits_of(first, 0, 63));
    minima[j] = bits_of(second, 0, 63);
    store(panel.scales[j + 4], either(bits_of(third, 0, 15), left(bits_of(first, 6, 3), 4)));
    minima[j + 4] = either(bits_of(third, 4, 15), left(bits_of(second, 6, 3), 4));
  }
  store_minima(minima, 4, panel);
}

void unpack_q4_k(const PanelRows& rows, Panel& panel) {
  unpack_k_scales(rows, panel);
  for (int half = 0; half < 2; ++half) {
    Words t[16];
    load_words(rows, 16 + 64 * half, t);
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) {
      const int line = 32 * half + j / 8 * 16 + j % 8;
      store(panel.values[line], bits_of(t[j], 0, kNibbles));
      store(panel.values[line + 8], bits_of(t[j], 4, kNibbles));
    }
  }
}

// 32 bytes of nibbles: sub-blocks 2c and 2c + 1, with the fifth bits of `high`.
DURE_INLINE void store_q5(const Words* t, const Words* high, int c, Panel& panel) {
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    const int line = 16 * c + j;
    store(panel.values[line],
          either(bits_of(t[j], 0, kNibbles), left(bits_of(high[j], 2 * c, kOneBit), 4)));
    store(panel.values[line + 8],
          either(bits_of(t[j], 4, kNibbles), left(bits_of(high[j], 2 * c + 1, kOneBit), 4)));
  }
}

void unpack_q5_k(const PanelRows& rows, Panel& panel) {
  unpack_k_scales(rows, panel);
  Words first[16], rest[16];
  load_words(rows, 16, first);  // The fifth bits, then the first 32 bytes of nibbles.
  store_q5(first + 8, first, 0, panel);
  load_words(rows, 80, rest);
  store_q5(rest, first, 1, panel);
  store_q5(rest + 8, first, 2, panel);
  load_words(rows, 112, rest);  // Again, so as not to read beyond the block.
  store_q5(rest + 8, first, 3, panel);
}

void unpack_q6_k(const PanelRows& rows, Panel& panel) {
  unpack_halves(rows, 208, panel.d[0]);
  Words h[4];
  load_header(rows, 192, h);
#pragma GCC unroll 16
  for (int j = 0; j < 16; ++j)
    store(panel.scales[j], minus(exclusive(byte_of(h, j), all(128)), all(128)));
  Words high[16];
  load_words(rows, 128, high);
  for (int half = 0; half < 2; ++half) {
    Words low[16];
    load_words(rows, 64 * half, low);
#pragma GCC unroll 32
    for (int i = 0; i < 32; ++i) {
      const int part = i / 8, j = i % 8;
      const Words nibble = bits_of(low[part % 2 * 8 + j], part / 2 * 4, kNibbles);
      store(panel.values[32 * half + i],
            either(nibble, left(bits_of(high[8 * half + j], 2 * part, kTwoBits), 4)));
    }
  }
}

void unpack_q2_k(const PanelRows& rows, Panel& panel) {
  unpack_halves(rows, 80, panel.d[0]);
  unpack_halves(rows, 82, panel.low[0]);
  Words h[4], minima[16], t[16];
  load_header(rows, 0, h);
#pragma GCC unroll 16
  for (int j = 0; j < 16; ++j) {
    const Words both = byte_of(h, j);
    store(panel.scales[j], bits_of(both, 0, 15));
    minima[j] = bits_of(both, 4, 15);
  }
  store_minima(minima, 8, panel);
  load_words(rows, 16, t);
#pragma GCC unroll 64
  for (int i = 0; i < 64; ++i)
    store(panel.values[i], bits_of(t[i / 32 * 8 + i % 8], i % 32 / 8 * 2, kTwoBits));
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

void unpack_q3_k(const PanelRows& rows, Panel& panel) {
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
    store(panel.values[i], either(two, left(bits_of(first[j], i / 8, kOneBit), 2)));
  }
}

// kLevels4 + 128.
alignas(16) constexpr uint8_t kShiftedLevels[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                                    129, 141, 153, 166, 181, 197, 217, 241};

// Four groups of 16 bytes: low nibbles are the first half of 32 elements, high ones the second.
// value(nibbles, line of the panel).
template <typename Value>
DURE_INLINE void store_split_nibbles(const Words* t, int group, Value value, Panel& panel) {
#pragma GCC unroll 16
  for (int j = 0; j < 16; ++j) {
    const int line = 8 * (group + j / 4) + j % 4;
    store(panel.values[line], value(bits_of(t[j], 0, kNibbles), line));
    store(panel.values[line + 4], value(bits_of(t[j], 4, kNibbles), line + 4));
  }
}

DURE_INLINE Words level(Words codes) { return look_up(kShiftedLevels, codes); }

void unpack_iq4_xs(const PanelRows& rows, Panel& panel) {
  Words h[4];
  load_header(rows, 0, h);
  store_halves(panel.d[0], bits_of(h[0], 0, 0xffff));
#pragma GCC unroll 8
  for (int j = 0; j < 8; ++j) {
    const Words low = bits_of(h[1], 4 * j, 15), high = bits_of(h[0], 16 + 2 * j, 3);
    store(panel.scales[j], minus(either(low, left(high, 4)), all(32)));
  }
  for (int half = 0; half < 2; ++half) {
    Words t[16];
    load_words(rows, 8 + 64 * half, t);
    store_split_nibbles(
        t, 4 * half, [](Words w, int) DURE_LAMBDA_INLINE { return level(w); }, panel);
  }
}

void unpack_q8_0(const PanelRows& rows, Panel& panel) {
  for (int b = 0; b < 8; b += 2) {
    unpack_halves(rows, 34 * b, panel.d[b]);
    unpack_halves(rows, 34 * b + 34, panel.d[b + 1]);
    Words t[16];
    load_pairs(rows, 34 * b + 2, 34 * b + 36, t);
    const Words sign = all(static_cast<int>(0x80808080));
#pragma GCC unroll 16
    for (int j = 0; j < 16; ++j) store(panel.values[8 * b + j], exclusive(t[j], sign));
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

template <NibbleBlock kBlock, typename Value>
DURE_INLINE void unpack_nibble_blocks(const PanelRows& rows, Value value, Panel& panel) {
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
      return either(w, fifth_bits(high[line / 8 - b], line % 8 * 4));
    };
    store_split_nibbles(t, b, whole, panel);
  }
}

DURE_INLINE Words as_it_is(Words w) { return w; }
void unpack_q4_0(const PanelRows& rows, Panel& panel) {
  unpack_nibble_blocks<NibbleBlock{18, 2}>(rows, as_it_is, panel);
}
void unpack_q4_1(const PanelRows& rows, Panel& panel) {
  unpack_nibble_blocks<NibbleBlock{20, 4, 2}>(rows, as_it_is, panel);
}
void unpack_q5_0(const PanelRows& rows, Panel& panel) {
  unpack_nibble_blocks<NibbleBlock{22, 6, 0, 2}>(rows, as_it_is, panel);
}
void unpack_q5_1(const PanelRows& rows, Panel& panel) {
  unpack_nibble_blocks<NibbleBlock{24, 8, 2, 4}>(rows, as_it_is, panel);
}
void unpack_iq4_nl(const PanelRows& rows, Panel& panel) {
  unpack_nibble_blocks<NibbleBlock{18, 2}>(rows, level, panel);
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

void unpack_mxfp4(const PanelRows& rows, Panel& panel) {
  for (int b = 0; b < 8; b += 4) {
    for (int i = b; i < b + 4; ++i) unpack_powers(rows, 17 * i, panel.d[i]);
    Words t[16];
    load_quarters(rows, 17 * b + 1, 17, t);
    store_split_nibbles(
        t, b, [](Words w, int) DURE_LAMBDA_INLINE { return look_up(kShiftedE2M1, w); }, panel);
  }
}

void unpack(DType dtype, const PanelRows& rows, int elements, Panel& panel) {
  if (elements < kPanelElements) return unpack_generic(dtype, rows, elements, panel);
  switch (dtype) {
    case DType::kQ8_0:
      return unpack_q8_0(rows, panel);
    case DType::kQ4_0:
      return unpack_q4_0(rows, panel);
    case DType::kQ4_1:
      return unpack_q4_1(rows, panel);
    case DType::kQ5_0:
      return unpack_q5_0(rows, panel);
    case DType::kQ5_1:
      return unpack_q5_1(rows, panel);
    case DType::kIQ4_NL:
      return unpack_iq4_nl(rows, panel);
    case DType::kMXFP4:
      return unpack_mxfp4(rows, panel);
    case DType::kIQ4_XS:
      return unpack_iq4_xs(rows, panel);
    case DType::kQ2_K:
      return unpack_q2_k(rows, panel);
    case DType::kQ3_K:
      return unpack_q3_k(rows, panel);
    case DType::kQ4_K:
      return unpack_q4_k(rows, panel);
    case DType::kQ5_K:
      return unpack_q5_k(rows, panel);
    case DType::kQ6_K:
      return unpack_q6_k(rows, panel);
    default:
      return unpack_generic(dtype, rows, elements, panel);
  }
}
