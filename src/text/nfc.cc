// Text is scanned for characters that may change; only the segment around such a one is decomposed,
// ordered and composed. Compositions are a table, made once from the decompositions.
#include "text/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "text/unicode.h"

namespace dure {
namespace {

constexpr char32_t kHangulS = 0xAC00, kHangulL = 0x1100, kHangulV = 0x1161, kHangulT = 0x11A7;
constexpr char32_t kHangulLCount = 19, kHangulVCount = 21, kHangulTCount = 28;

struct Mark {
  char32_t code;
  uint8_t combining;
};

// Pairs (first, second) -> primary composite, from the decompositions: the head of a longer
// decomposition is itself the decomposition of a composite, so shorter ones are entered first.
class Compositions {
 public:
  static const Compositions& get() {
    static const Compositions table;
    return table;
  }

  // 0 where the two do not compose.
  char32_t compose(char32_t first, char32_t second) const {
    if (first >= kHangulL && first < kHangulL + kHangulLCount) {
      if (second < kHangulV || second >= kHangulV + kHangulVCount) return 0;
      return kHangulS + ((first - kHangulL) * kHangulVCount + (second - kHangulV)) * kHangulTCount;
    }
    if (first >= kHangulS && first < kHangulS + kHangulLCount * kHangulVCount * kHangulTCount) {
      if ((first - kHangulS) % kHangulTCount != 0 || second <= kHangulT ||
          second >= kHangulT + kHangulTCount)
        return 0;
      return first + (second - kHangulT);
    }
    const auto found = pairs_.find(uint64_t{first} << 32 | second);
    return found == pairs_.end() ? 0 : found->second;
  }

 private:
  Compositions() {
    for (int length = 2; length <= 4; ++length) {
      for (char32_t code = 0xC0; code < 0x1D800; ++code) enter(code, length);
    }
  }

  void enter(char32_t code, int wanted_length) {
    const utf8proc_property_t* property =
        utf8proc_get_property(static_cast<utf8proc_int32_t>(code));
    if (property->decomp_seqindex == UINT16_MAX || property->decomp_type != 0) return;
    char32_t parts[kDecompositionMax];
    if (canonical_decomposition(code, parts) != wanted_length || !is_primary_composite(code))
      return;
    char32_t head = parts[0];
    for (int i = 1; i + 1 < wanted_length && head != 0; ++i) head = compose(head, parts[i]);
    if (head != 0) pairs_[uint64_t{head} << 32 | parts[wanted_length - 1]] = code;
  }

  std::unordered_map<uint64_t, char32_t> pairs_;
};

// Canonical ordering of each run of marks, then composition, in place; then out as UTF-8.
void flush_segment(std::vector<Mark>& segment, std::string& out) {
  for (size_t i = 0; i < segment.size();) {
    size_t end = i;
    while (end < segment.size() && segment[end].combining != 0) ++end;
    std::stable_sort(segment.begin() + static_cast<std::ptrdiff_t>(i),
                     segment.begin() + static_cast<std::ptrdiff_t>(end),
                     [](const Mark& a, const Mark& b) { return a.combining < b.combining; });
    i = end + 1;
  }
  const Compositions& compositions = Compositions::get();
  size_t kept = 0, starter = SIZE_MAX;
  int last_class = -1;  // The highest class kept since the starter; -1: nothing in between.
  for (const Mark mark : segment) {
    if (starter != SIZE_MAX && static_cast<int>(mark.combining) > last_class) {
      if (const char32_t joined = compositions.compose(segment[starter].code, mark.code);
          joined != 0) {
        segment[starter].code = joined;
        continue;
      }
    }
    if (mark.combining == 0) starter = kept;
    last_class = mark.combining == 0 ? -1 : mark.combining;
    segment[kept++] = mark;
  }
  for (size_t i = 0; i < kept; ++i) append_utf8(out, segment[i].code);
  segment.clear();
}

// The offset of the first byte from `from` on that is not plain ASCII.
size_t skip_ascii(std::string_view text, size_t from) {
  uint64_t word = 0;
  for (; from + 8 <= text.size(); from += 8) {
    std::memcpy(&word, text.data() + from, 8);
    if (const uint64_t high = word & 0x8080808080808080u; high != 0)
      return from + static_cast<size_t>(__builtin_ctzll(high) / 8);
  }
  while (from < text.size() && static_cast<unsigned char>(text[from]) < 0x80) ++from;
  return from;
}

// The offset of the first character that NFC may change or join to its left; text.size() where
// there is none.
size_t first_unsafe(const CharTable& table, std::string_view text, size_t from) {
  while ((from = skip_ascii(text, from)) < text.size()) {
    const Char c = table.at(text.data() + from);
    if (c.bits & kCharNfcUnsafe) return from;
    from += static_cast<size_t>(c.length);
  }
  return text.size();
}

}  // namespace

bool is_nfc_fast(std::string_view text) {
  return first_unsafe(CharTable::get(), text, 0) == text.size();
}

std::string to_nfc(std::string_view text) {
  const CharTable& table = CharTable::get();
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  std::vector<Mark> segment;
  for (size_t done = 0; done < text.size();) {
    const size_t unsafe = first_unsafe(table, text, done);
    if (unsafe == text.size()) return out += text.substr(done);
    // A segment: the safe character before, and everything up to the next safe one.
    const size_t begin = unsafe > done ? utf8_start(text, unsafe - 1) : unsafe;
    out += text.substr(done, begin - done);
    size_t i = begin;
    for (bool first = true; i < text.size(); first = false) {
      const Char c = table.at(text.data() + i);
      if (!first && !(c.bits & kCharNfcUnsafe)) break;
      char32_t parts[kDecompositionMax];
      const int count = canonical_decomposition(c.code, parts);
      for (int k = 0; k < count; ++k) segment.push_back({parts[k], combining_class(parts[k])});
      i += static_cast<size_t>(c.length);
    }
    flush_segment(segment, out);
    done = i;
  }
  return out;
}

std::string_view to_nfc(std::string_view text, std::string& buffer) {
  if (is_nfc_fast(text)) return text;
  buffer = to_nfc(text);
  return buffer;
}

}  // namespace dure
