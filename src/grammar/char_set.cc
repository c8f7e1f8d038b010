// UTF-8 by ranges: a range of characters is cut where its first bytes or its length change, until
// each part is one range for every byte. Tails are shared.
#include "grammar/char_set.h"

#include <utf8proc.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/utf8.h"

namespace dure {
namespace {

constexpr char32_t kLast = 0x10FFFF;
constexpr char32_t kFirstSurrogate = 0xD800, kLastSurrogate = 0xDFFF;

struct ByteRange {
  uint8_t low = 0, high = 0;
  auto operator<=>(const ByteRange&) const = default;
};
using ByteRanges = std::vector<ByteRange>;

class Utf8Edges {
 public:
  Utf8Edges(ByteNfa& nfa, ByteNfa::Node from, ByteNfa::Node to) : nfa_(nfa), from_(from), to_(to) {}

  void add(char32_t low, char32_t high) {
    for (const char32_t last : {char32_t{0x7F}, char32_t{0x7FF}, char32_t{0xFFFF}}) {
      if (low <= last && last < high) return add_both(low, last, high);
    }
    if (high > 0x7F) {
      for (int i = 1; i < 4; ++i) {
        const char32_t mask = (char32_t{1} << (6 * i)) - 1;
        if ((low & ~mask) == (high & ~mask)) continue;
        if ((low & mask) != 0) return add_both(low, low | mask, high);
        if ((high & mask) != mask) return add_both(low, (high & ~mask) - 1, high);
      }
    }
    add_sequence(low, high);
  }

 private:
  void add_both(char32_t low, char32_t middle, char32_t high) {
    add(low, middle);
    add(middle + 1, high);
  }
  void add_sequence(char32_t low, char32_t high) {
    std::string first, last;
    append_utf8(first, low);
    append_utf8(last, high);
    ByteRanges ranges;
    for (size_t i = 0; i < first.size(); ++i)
      ranges.push_back({static_cast<uint8_t>(first[i]), static_cast<uint8_t>(last[i])});
    const ByteRange lead = ranges.front();
    ranges.erase(ranges.begin());
    nfa_.add_bytes(from_, lead.low, lead.high, tail(ranges));
  }
  ByteNfa::Node tail(const ByteRanges& ranges) {
    if (ranges.empty()) return to_;
    if (const auto found = tails_.find(ranges); found != tails_.end()) return found->second;
    const ByteNfa::Node node = nfa_.add_node();
    nfa_.add_bytes(node, ranges[0].low, ranges[0].high, tail({ranges.begin() + 1, ranges.end()}));
    return tails_[ranges] = node;
  }

  ByteNfa& nfa_;
  ByteNfa::Node from_, to_;
  std::map<ByteRanges, ByteNfa::Node> tails_;
};

// The escape that JSON demands for `c`; empty where it stands for itself.
std::string json_escape(char32_t c) {
  switch (c) {
    case '"':
      return "\\\"";
    case '\\':
      return "\\\\";
    case '\b':
      return "\\b";
    case '\f':
      return "\\f";
    case '\n':
      return "\\n";
    case '\r':
      return "\\r";
    case '\t':
      return "\\t";
    default:
      return c < 0x20 ? fmt::format("\\u{:04x}", static_cast<uint32_t>(c)) : "";
  }
}

const CharSet& escaped_in_json() {
  static const CharSet set({{0, 0x1F}, {'"', '"'}, {'\\', '\\'}});
  return set;
}

// Escapes that share their first bytes: six nodes, whatever the set.
class JsonEscapes {
 public:
  JsonEscapes(ByteNfa& nfa, ByteNfa::Node from, ByteNfa::Node to)
      : nfa_(nfa), from_(from), to_(to) {}

  void add(const CharSet& set) {
    for (const CharRange& range : escaped_in_json().ranges()) {
      for (char32_t c = range.low; c <= range.high; ++c)
        if (set.contains(c)) add_escape(json_escape(c));
    }
  }

 private:
  void add_escape(const std::string& escape) {
    ByteNfa::Node node = from_;
    for (size_t i = 0; i + 1 < escape.size(); ++i) node = child(node, escape[i]);
    const auto last = static_cast<uint8_t>(escape.back());
    nfa_.add_bytes(node, last, last, to_);
  }
  ByteNfa::Node child(ByteNfa::Node node, char byte) {
    const auto [found, fresh] = children_.try_emplace({node, byte}, 0);
    if (fresh) {
      found->second = nfa_.add_node();
      nfa_.add_bytes(node, static_cast<uint8_t>(byte), static_cast<uint8_t>(byte), found->second);
    }
    return found->second;
  }

  ByteNfa& nfa_;
  ByteNfa::Node from_, to_;
  std::map<std::pair<ByteNfa::Node, char>, ByteNfa::Node> children_;
};

const char* const kCategories[] = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd",
                                   "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
                                   "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};

// Bit i: utf8proc's category i.
uint32_t category_bits(std::string_view name) {
  uint32_t bits = 0;
  for (size_t i = 0; i < std::size(kCategories); ++i) {
    if (std::string_view(kCategories[i]).starts_with(name)) bits |= uint32_t{1} << i;
  }
  if (name.empty() || bits == 0)
    fail(ErrorCode::kUnsupported, "\\p{{{}}} is no general category that is known here", name);
  return bits;
}

}  // namespace

CharSet::CharSet(std::vector<CharRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](auto& a, auto& b) { return a.low < b.low; });
  for (CharRange r : ranges) {
    if (r.low > r.high) continue;
    if (!ranges_.empty() && r.low <= ranges_.back().high + 1) {
      ranges_.back().high = std::max(ranges_.back().high, r.high);
    } else {
      ranges_.push_back(r);
    }
  }
  std::vector<CharRange> kept;
  for (const CharRange& r : ranges_) {
    const char32_t below = kFirstSurrogate - 1, above = kLastSurrogate + 1;
    if (r.low <= below) kept.push_back({r.low, std::min(r.high, below)});
    if (r.high >= above) kept.push_back({std::max(r.low, above), r.high});
  }
  ranges_ = std::move(kept);
}

CharSet CharSet::all() { return CharSet({{0, kLast}}); }

CharSet CharSet::of_category(std::string_view name) {
  const uint32_t bits = category_bits(name);
  std::vector<CharRange> ranges;
  for (char32_t c = 0; c <= kLast; ++c) {
    const int category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
    if ((bits >> category & 1) == 0) continue;
    if (!ranges.empty() && ranges.back().high + 1 == c) {
      ranges.back().high = c;
    } else {
      ranges.push_back({c, c});
    }
  }
  return CharSet(std::move(ranges));
}

bool CharSet::contains(char32_t c) const {
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [c](const CharRange& r) { return r.low <= c && c <= r.high; });
}

CharSet CharSet::complement() const {
  std::vector<CharRange> out;
  char32_t next = 0;
  for (const CharRange& r : ranges_) {
    if (next < r.low) out.push_back({next, r.low - 1});
    next = r.high + 1;
  }
  if (next <= kLast) out.push_back({next, kLast});
  return CharSet(std::move(out));
}

CharSet CharSet::united(const CharSet& other) const {
  std::vector<CharRange> both = ranges_;
  both.insert(both.end(), other.ranges_.begin(), other.ranges_.end());
  return CharSet(std::move(both));
}

CharSet CharSet::minus(const CharSet& other) const {
  return complement().united(other).complement();
}

void add_chars(ByteNfa& nfa, ByteNfa::Node from, const CharSet& set, TextEncoding encoding,
               ByteNfa::Node to) {
  Utf8Edges edges(nfa, from, to);
  const bool json = encoding == TextEncoding::kJsonString;
  const CharSet raw = json ? set.minus(escaped_in_json()) : set;
  for (const CharRange& r : raw.ranges()) edges.add(r.low, r.high);
  if (json) JsonEscapes(nfa, from, to).add(set);
}

std::string spelt(std::string_view text, TextEncoding encoding) {
  if (encoding == TextEncoding::kPlain) return std::string(text);
  std::string out;
  for (const char c : text) {
    const std::string escape = json_escape(static_cast<uint8_t>(c));
    out += escape.empty() ? std::string(1, c) : escape;
  }
  return out;
}

}  // namespace dure
