// text/unicode.h: what the tokenizer must know about a code point, in one table look-up, and UTF-8
// itself.
//
// Owns the class table, decoding, validation and repair of UTF-8. Not here: normalisation (nfc.h),
// patterns (pretokeniser.h). Categories are utf8proc's (Unicode 15) plus the letters, marks and
// numbers of Unicode 16, which the `tokenizers` library of Hugging Face knows; white space is the
// property White_Space.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/utf8.h"

namespace dure {

enum CharBits : uint8_t {
  kCharLetter = 1,  // \p{L}
  kCharMark = 2,    // \p{M}
  kCharNumber = 4,  // \p{N}
  kCharSpace = 8,   // \s: White_Space
  kCharWord =
      16,  // \w as in UTS 18: letters, marks, decimal digits, letter numbers, connectors, joiners
  kCharNfcUnsafe = 32,  // may change, or join to its left, under NFC
};

struct Char {
  char32_t code;
  uint8_t bits;
  int length;  // bytes, 1 to 4
};

// Decodes the character at `p`, which must be the start of one in valid UTF-8.
inline char32_t decode_utf8(const char* p, int& length) {
  const auto* b = reinterpret_cast<const unsigned char*>(p);
  if (b[0] < 0x80) {
    length = 1;
    return b[0];
  }
  if (b[0] < 0xE0) {
    length = 2;
    return static_cast<char32_t>((b[0] & 0x1F) << 6 | (b[1] & 0x3F));
  }
  if (b[0] < 0xF0) {
    length = 3;
    return static_cast<char32_t>((b[0] & 0x0F) << 12 | (b[1] & 0x3F) << 6 | (b[2] & 0x3F));
  }
  length = 4;
  return static_cast<char32_t>((b[0] & 0x07) << 18 | (b[1] & 0x3F) << 12 | (b[2] & 0x3F) << 6 |
                               (b[3] & 0x3F));
}

class CharTable {
 public:
  static const CharTable& get();  // Built once, on first use (about 2 ms).

  uint8_t bits(char32_t code) const { return code < kFlatCount ? flat_[code] : high_bits(code); }
  Char at(const char* p) const {
    int length = 0;
    const char32_t code = decode_utf8(p, length);
    return {code, bits(code), length};
  }
  uint8_t bits_at(const char* p) const { return at(p).bits; }

 private:
  // Planes 0 to 3; above them: tags and selectors, private use.
  static constexpr char32_t kFlatCount = 0x40000;
  CharTable();
  static uint8_t high_bits(char32_t code);
  std::unique_ptr<uint8_t[]> flat_;  // [kFlatCount]
};

// Canonical combining class. Marks that Unicode 10 and later classified count as 0: the NFC of the
// `tokenizers` library has the tables of Unicode 9, and a model must see the ids it was trained on.
uint8_t combining_class(char32_t code);

// The full canonical decomposition (the character itself where it has none); returns its length.
constexpr int kDecompositionMax = 8;
int canonical_decomposition(char32_t code, char32_t (&out)[kDecompositionMax]);
// Does the decomposition compose back to it? Not for singletons (U+212B) and composition
// exclusions.
bool is_primary_composite(char32_t code);

bool is_valid_utf8(std::string_view bytes);
// Every maximal part of an ill-formed sequence becomes one U+FFFD (Unicode 15, section 3.9; as
// Python and Rust do).
std::string repair_utf8(std::string_view bytes);
void append_repaired(std::string& out, std::string_view bytes);
// Length of the longest prefix that does not end inside a character that more bytes could still
// complete.
size_t complete_utf8_prefix(std::string_view bytes);

}  // namespace dure
