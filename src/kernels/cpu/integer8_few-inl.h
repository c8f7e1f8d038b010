// kernels/cpu/integer8_few-inl.h: products with very few rows of x: every stored row is read once
// from its first byte to its last, as memory likes it. A block's sums stay integers; those of 16
// stored rows are then turned and scaled, in the order of arithmetic.h. Included by each
// instruction set's file, in its namespace, after
//
//   Bytes                       64 values of k; load64, join, twice, sixteen: from memory
//   bits, with_bits             fields of every byte, moved down by one count in the lower half and
//                               another in the upper; nibbles: of sixteen()
//   fifth, levels, from_signed  kWideShift: what lies above a signed value of a wide type, log2
//   Lanes, zero_lanes, fold, eight_sums, spread, add_dots, block_dots
//   Words, Floats               one of kWidth stored rows each; turn, low_halves, high_halves,
//                               to_floats, all_floats, times, fma, minus_fma, store_floats
//
// Layouts: block_decode.cc, whose values these are (integer8_test.cc compares every type).
#pragma once

DURE_INLINE __m128i load16(const void* at) {
  return _mm_loadu_si128(static_cast<const __m128i*>(at));
}
DURE_INLINE __m256i load32(const void* at) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(at));
}
DURE_INLINE uint64_t word8(const uint8_t* at) {
  uint64_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return bits;
}
DURE_INLINE uint32_t word4(const uint8_t* at) {
  uint32_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return bits;
}
DURE_INLINE uint16_t word2(const uint8_t* at) {
  uint16_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return bits;
}

// ---- types of 256 elements: values, and 16 scales and minima of 16 elements each

struct WholeBlock {
  Bytes values[4];
  __m256i scales, minima;
};

constexpr uint64_t kEach = 0x0101010101010101;  // times a byte: in every byte

// A byte for each sub-block of 32 as two 16-bit words each.
DURE_INLINE __m256i word_pairs(uint64_t bytes) {
  const __m128i eight = _mm_cvtsi64_si128(static_cast<int64_t>(bytes));
  return _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(eight, eight));
}

// Six-bit scales and minima of Q4_K and Q5_K.
DURE_INLINE void take_k_scales(const uint8_t* at, WholeBlock& out) {
  const uint32_t a = word4(at), b = word4(at + 4), c = word4(at + 8);
  const uint64_t scales_high = (c & 0x0f0f0f0f) | ((a >> 6) & 0x03030303) << 4;
  const uint64_t minima_high = ((c >> 4) & 0x0f0f0f0f) | ((b >> 6) & 0x03030303) << 4;
  out.scales = word_pairs((a & 0x3f3f3f3f) | scales_high << 32);
  out.minima = word_pairs((b & 0x3f3f3f3f) | minima_high << 32);
}

struct Q4K {
  static constexpr bool kMinima = true, kWide = false;
  static constexpr int kOffsetShift = -1, kBytes = 144;
  DURE_INLINE static uint32_t halves(const uint8_t* b) { return word4(b); }
  DURE_INLINE static void take(const uint8_t* b, WholeBlock& out) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) out.values[i] = bits(twice(b + 16 + 32 * i), 0, 4, 0x0f);
    take_k_scales(b + 4, out);
  }
};

struct Q5K {
  static constexpr bool kMinima = true, kWide = false;
  static constexpr int kOffsetShift = -1, kBytes = 176;
  DURE_INLINE static uint32_t halves(const uint8_t* b) { return word4(b); }
  DURE_INLINE static void take(const uint8_t* b, WholeBlock& out) {
    const Bytes high = twice(b + 16);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const Bytes low = bits(twice(b + 48 + 32 * i), 0, 4, 0x0f);
      out.values[i] = with_bits(low, high, 2 * i - 4, 2 * i - 3, 0x10);
    }
    take_k_scales(b + 4, out);
  }
};

struct Q6K {
  static constexpr bool kMinima = false, kWide = false;
  static constexpr int kOffsetShift = 5, kBytes = 210;
  DURE_INLINE static uint32_t halves(const uint8_t* b) { return word2(b + 208); }
  DURE_INLINE static void take(const uint8_t* b, WholeBlock& out) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const Bytes low = load64(b + 64 * h), high = twice(b + 128 + 32 * h);
      out.values[2 * h] = with_bits(bits(low, 0, 0, 0x0f), high, -4, -2, 0x30);
      out.values[2 * h + 1] = with_bits(bits(low, 4, 4, 0x0f), high, 0, 2, 0x30);
    }
    out.scales = _mm256_cvtepi8_epi16(load16(b + 192));
  }
};

struct Q2K {
  static constexpr bool kMinima = true, kWide = false;
  static constexpr int kOffsetShift = -1, kBytes = 84;
  DURE_INLINE static uint32_t halves(const uint8_t* b) { return word4(b + 80); }
  DURE_INLINE static void take(const uint8_t* b, WholeBlock& out) {
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const Bytes both = twice(b + 16 + 32 * h);
      out.values[2 * h] = bits(both, 0, 2, 3);
      out.values[2 * h + 1] = bits(both, 4, 6, 3);
    }
    const __m256i bytes = _mm256_cvtepu8_epi16(load16(b));
    out.scales = _mm256_and_si256(bytes, _mm256_set1_epi16(15));
    out.minima = _mm256_srli_epi16(bytes, 4);
  }
};

struct Q3K {
  static constexpr bool kMinima = false, kWide = false;
  static constexpr int kOffsetShift = 2, kBytes = 110;
  DURE_INLINE static uint32_t halves(const uint8_t* b) { return word2(b + 108); }
  DURE_INLINE static void take(const uint8_t* b, WholeBlock& out) {
    const Bytes high = twice(b);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const Bytes low = bits(twice(b + 32 + i / 2 * 32), i % 2 * 4, i % 2 * 4 + 2, 3);
      out.values[i] = with_bits(low, high, 2 * i - 2, 2 * i - 1, 4);
    }
    out.scales = scales(word8(b + 96), word4(b + 104));
  }
  // Sixteen of six bits, less 32: four bits of each in `low`, two in `high`.
  DURE_INLINE static __m256i scales(uint64_t low, uint64_t high) {
    const uint64_t up = ((high | high << 30) & 3 * kEach) << 4;
    const uint64_t up_rest = ((high >> 4 | (high >> 6) << 32) & 3 * kEach) << 4;
    const __m128i bytes = _mm_set_epi64x(static_cast<int64_t>(((low >> 4) & 15 * kEach) | up_rest),
                                         static_cast<int64_t>((low & 15 * kEach) | up));
    return _mm256_sub_epi16(_mm256_cvtepu8_epi16(bytes), _mm256_set1_epi16(32));
  }
};

struct IQ4XS {
  static constexpr bool kMinima = false, kWide = true;
  static constexpr int kOffsetShift = kWideShift, kBytes = 136;
  DURE_INLINE static uint32_t halves(const uint8_t* b) { return word2(b); }
  DURE_INLINE static void take(const uint8_t* b, WholeBlock& out) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i)
      out.values[i] = levels(nibbles(sixteen(b + 8 + 32 * i, b + 24 + 32 * i)));
    out.scales = scales(static_cast<int>(word4(b + 4)), word2(b + 2));
  }
  // Eight of six bits, less 32: four bits of each in `low`, two in `high`.
  DURE_INLINE static __m256i scales(int low, int high) {
    const __m256i four = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    const __m256i two = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
    const __m256i down =
        _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(low), four), _mm256_set1_epi32(15));
    const __m256i up =
        _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(high), two), _mm256_set1_epi32(3));
    const __m256i all = _mm256_or_si256(down, _mm256_slli_epi32(up, 4));
    const __m256i pairs = _mm256_or_si256(all, _mm256_slli_epi32(all, 16));
    return _mm256_sub_epi16(pairs, _mm256_set1_epi16(32));
  }
};

// ---- types of 32 elements: eight blocks

// A block: d, perhaps a minimum, perhaps fifth bits, then 16 bytes of nibbles.
template <int kBytes, int kValuesAt>
DURE_INLINE Bytes nibble_pair(const uint8_t* b, int i) {
  const uint8_t* const at = b + 2 * i * kBytes + kValuesAt;
  return nibbles(sixteen(at, at + kBytes));
}
template <int kBytes, int kFifthAt>
DURE_INLINE Bytes fifth_pair(Bytes low, const uint8_t* b, int i) {
  const uint8_t* const at = b + 2 * i * kBytes + kFifthAt;
  return fifth(low, word4(at), word4(at + kBytes));
}

struct Q80 {
  static constexpr bool kMinima = false, kWide = true;
  static constexpr int kOffsetShift = kWideShift, kBytes = 34;
  DURE_INLINE static Bytes values(const uint8_t* b, int i) {
    return from_signed(join(b + 68 * i + 2, b + 68 * i + 36));
  }
};
struct Q40 {
  static constexpr bool kMinima = false, kWide = false;
  static constexpr int kOffsetShift = 3, kBytes = 18;
  DURE_INLINE static Bytes values(const uint8_t* b, int i) { return nibble_pair<18, 2>(b, i); }
};
struct Q41 {
  static constexpr bool kMinima = true, kWide = false;
  static constexpr int kOffsetShift = -1, kBytes = 20;
  DURE_INLINE static Bytes values(const uint8_t* b, int i) { return nibble_pair<20, 4>(b, i); }
};
struct Q50 {
  static constexpr bool kMinima = false, kWide = false;
  static constexpr int kOffsetShift = 4, kBytes = 22;
  DURE_INLINE static Bytes values(const uint8_t* b, int i) {
    return fifth_pair<22, 2>(nibble_pair<22, 6>(b, i), b, i);
  }
};
struct Q51 {
  static constexpr bool kMinima = true, kWide = false;
  static constexpr int kOffsetShift = -1, kBytes = 24;
  DURE_INLINE static Bytes values(const uint8_t* b, int i) {
    return fifth_pair<24, 4>(nibble_pair<24, 8>(b, i), b, i);
  }
};
struct IQ4NL {
  static constexpr bool kMinima = false, kWide = true;
  static constexpr int kOffsetShift = kWideShift, kBytes = 18;
  DURE_INLINE static Bytes values(const uint8_t* b, int i) {
    return levels(nibble_pair<18, 2>(b, i));
  }
};

// ---- sums of a stored row

// Where the sums and scales of 16 stored rows wait, by block: [16, stride] words each.
struct Room {
  int64_t stride = 0;          // words of a stored row, whole lines of memory
  int32_t* sums[kFewRows];     // S
  int32_t* lows[kFewRows];     // L of types of 256 with minima
  uint32_t* halves = nullptr;  // d in the low half, low in the high one
};

Room room_of(void* memory, int64_t blocks, bool lows) {
  Room room;
  room.stride = few_room_stride(blocks);
  const int64_t words = kPanelColumns * room.stride;
  auto* at = static_cast<int32_t*>(memory);
  room.halves = reinterpret_cast<uint32_t*>(at);
  for (int r = 0; r < kFewRows; ++r) room.sums[r] = at + (1 + r) * words;
  for (int r = 0; r < kFewRows; ++r)
    room.lows[r] = lows ? room.sums[r] + kFewRows * words : nullptr;
  return room;
}

// A row of x at one group.
struct X {
  const int8_t* values;
  const int16_t* sums;
};

template <int kRows>
struct XRows {
  X at[kRows];
  int64_t values_step, sums_step;  // from a group to the next

  explicit XRows(const FewTile& tile)
      : values_step(tile.x->group_bytes()), sums_step(tile.x->rows * 16) {
    for (int r = 0; r < kRows; ++r)
      at[r] = {tile.x->values_at(0, tile.x_row[r]), tile.x->sums_at(0, tile.x_row[r])};
  }
  DURE_INLINE void advance() {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      at[r].values += values_step;
      at[r].sums += sums_step;
    }
  }
};

// The four sums of eight lanes each.
DURE_INLINE __m128i four_sums(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
  const __m256i cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
  const __m256i all =
      _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
  return _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}
DURE_INLINE void store_four(int32_t* at, const __m256i* sums) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(at), four_sums(sums[0], sums[1], sums[2], sums[3]));
}

// Lanes of S and L of one block, for each row of x.
constexpr int kBatch = 4;
struct Batch {
  __m256i sums[kFewRows][kBatch], lows[kFewRows][kBatch];
};

template <typename Type, int kRows>
DURE_INLINE void block_sums(const uint8_t* b, const X* x, int i, Batch& out) {
  WholeBlock w;
  Type::take(b, w);
  Bytes scales[4];
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) scales[c] = spread<Type::kWide>(w.scales, c);
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    Lanes lanes[2] = {zero_lanes(), zero_lanes()};
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c)
      lanes[c % 2] =
          add_dots<Type::kWide>(lanes[c % 2], w.values[c], load64(x[r].values + 64 * c), scales[c]);
    const __m256i x_sums = load32(x[r].sums);
    __m256i sums = fold(lanes[0], lanes[1]);
    if constexpr (Type::kOffsetShift >= 0) {
      const __m256i offsets = _mm256_madd_epi16(w.scales, x_sums);
      sums = _mm256_sub_epi32(sums, _mm256_slli_epi32(offsets, Type::kOffsetShift));
    }
    out.sums[r][i] = sums;
    if constexpr (Type::kMinima) out.lows[r][i] = _mm256_madd_epi16(w.minima, x_sums);
  }
}

// Of types of 256.
template <typename Type>
struct Whole {
  static constexpr int kBlocks = 1;  // of a group
  static constexpr bool kLows = Type::kMinima, kLowsOfX = false;

  template <int kRows>
  static void read_row(const FewTile& tile, int c, const Room& room) {
    const uint8_t* at = tile.rows.at[c];
    int64_t to = c * room.stride;
    XRows<kRows> x(tile);
    for (int64_t left = tile.columns / kPanelElements; left > 0; left -= kBatch, to += kBatch) {
      Batch batch;
      const int count = static_cast<int>(left < kBatch ? left : kBatch);
#pragma GCC unroll 1
      for (int i = 0; i < count; ++i, at += Type::kBytes) {
        fetch(at + kAheadBytes, Type::kBytes);
        room.halves[to + i] = Type::halves(at);
        block_sums<Type, kRows>(at, x.at, i, batch);
        x.advance();
      }
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        store_four(room.sums[r] + to, batch.sums[r]);
        if constexpr (kLows) store_four(room.lows[r] + to, batch.lows[r]);
      }
    }
  }
};

// Of types of 32.
template <typename Type>
struct Blocks {
  static constexpr int kBlocks = 8;
  static constexpr bool kLows = false, kLowsOfX = Type::kMinima;

  DURE_INLINE static void take_halves(const uint8_t* b, uint32_t* out) {
#pragma GCC unroll 8
    for (int i = 0; i < kBlocks; ++i) {
      const uint8_t* const at = b + i * Type::kBytes;
      out[i] = Type::kMinima ? word4(at) : word2(at);
    }
  }

  template <int kRows>
  static void read_row(const FewTile& tile, int c, const Room& room) {
    const uint8_t* at = tile.rows.at[c];
    int64_t to = c * room.stride;
    XRows<kRows> x_rows(tile);
    const X* const x = x_rows.at;
    constexpr int kBytes = kBlocks * Type::kBytes;
    for (int64_t g = 0; g < tile.columns / kPanelElements; ++g, at += kBytes, to += kBlocks) {
      fetch(at + kAheadBytes, kBytes);
      take_halves(at, room.halves + to);
      Bytes values[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) values[i] = Type::values(at, i);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        BlockLanes lanes[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i)
          lanes[i] = block_dots<Type::kWide>(values[i], load64(x[r].values + 64 * i));
        __m256i sums = eight_sums(lanes);
        if constexpr (Type::kOffsetShift >= 0) {
          const __m256i x_sums = _mm256_madd_epi16(load32(x[r].sums), _mm256_set1_epi16(1));
          sums = _mm256_sub_epi32(sums, _mm256_slli_epi32(x_sums, Type::kOffsetShift));
        }
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(room.sums[r] + to), sums);
      }
      x_rows.advance();
    }
  }
};

// ---- scaling

// Sum of a row of x over block b of a type of 32.
DURE_INLINE float x_sum(const FewTile& tile, int r, int64_t b) {
  const int16_t* const sums = tile.x->sums_at(b / 8, tile.x_row[r]) + b % 8 * 2;
  return static_cast<float>(sums[0] + sums[1]);
}

// y of kWidth columns from column c on, from their sums, blocks ascending.
template <typename Reader>
void scale_sums(const FewTile& tile, const Room& room, int r, int c, int64_t blocks) {
  const float* const x_scales = tile.x->scales_at(0, tile.x_row[r]);
  const int64_t x_stride = tile.x->rows * tile.x->scales_per_group, at = c * room.stride;
  Floats sum = all_floats(0);
  for (int64_t first = 0; first < blocks; first += kWidth) {
    Words words[kWidth], lows[kWidth], halves[kWidth];
    turn(room.sums[r] + at + first, room.stride, words);
    if constexpr (Reader::kLows) turn(room.lows[r] + at + first, room.stride, lows);
    turn(room.halves + at + first, room.stride, halves);
    const int64_t count = blocks - first < kWidth ? blocks - first : kWidth;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t b = first + i;
      const Floats scale =
          all_floats(x_scales[b / Reader::kBlocks * x_stride + b % Reader::kBlocks]);
      sum = fma(to_floats(words[i]), times(low_halves(halves[i]), scale), sum);
      if constexpr (Reader::kLows)
        sum = minus_fma(to_floats(lows[i]), times(high_halves(halves[i]), scale), sum);
      if constexpr (Reader::kLowsOfX)  // `low` is minus what is stored.
        sum = fma(all_floats(x_sum(tile, r, b)), times(high_halves(halves[i]), scale), sum);
    }
  }
  store_floats(tile.y[r] + c, sum);
}

template <typename Reader, int kRows>
void run_rows(const FewTile& tile) {
  const int64_t blocks = tile.columns / kPanelElements * Reader::kBlocks;
  const Room room = room_of(tile.room, blocks, Reader::kLows);
  for (int c = 0; c < kPanelColumns; ++c) Reader::template read_row<kRows>(tile, c, room);
  for (int r = 0; r < kRows; ++r) {
    for (int c = 0; c < kPanelColumns; c += kWidth) scale_sums<Reader>(tile, room, r, c, blocks);
  }
}

template <typename Reader>
void run(const FewTile& tile) {
  switch (tile.count) {
    case 1:
      return run_rows<Reader, 1>(tile);
    case 2:
      return run_rows<Reader, 2>(tile);
    case 3:
      return run_rows<Reader, 3>(tile);
    default:
      return run_rows<Reader, 4>(tile);
  }
}
