// What normalisation does to blanks decides whether a line is empty; the rest of it changes no
// count and is left out.
#include <algorithm>

#include "grade/instructions/japanese.h"

namespace dure::instructions {
namespace {

bool in_ranges(char32_t c, std::initializer_list<std::pair<char32_t, char32_t>> ranges) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [c](const auto& range) { return c >= range.first && c <= range.second; });
}

// Characters beside which a blank goes. ASCII marks become full-width ones before that.
bool is_wide(char32_t c) {
  return in_ranges(c, {{0x4E00, 0x9FFF}, {0x3000, 0x30FF}, {0xFF00, 0xFFEF}}) ||
         (c < 0x80 && is_punctuation(c)) || contains(U"﹣—―─━˷∼∾〜〰", c) || c == U'~';
}

Chars normalised(CharsView text) {
  Chars single;  // runs of blanks as one
  for (const char32_t c : strip(text)) {
    const char32_t one = c == 0x3000 ? U' ' : c;
    if (one != U' ' || single.empty() || single.back() != U' ') single += one;
  }
  Chars out;
  for (size_t i = 0; i < single.size(); ++i) {
    const char32_t c = single[i];
    if (c == U' ' && i > 0 && i + 1 < single.size()) {
      const char32_t before = single[i - 1], after = single[i + 1];
      const bool wide = is_wide(before) || is_wide(after);
      const bool known = (is_wide(before) || before < 0x80) && (is_wide(after) || after < 0x80);
      if (wide && known) continue;
    }
    out += c == 0xFF61 ? U'。' : c == 0xFF62 ? U'「' : c == 0xFF63 ? U'」' : c;
  }
  return out;
}

bool is_stop(char32_t c) { return contains(U"。!?！？", c); }

// Behind each open mark at i: where it closes, if no other opens before; else i.
size_t closing_of(CharsView line, size_t i) {
  const bool quote = line[i] == U'「';
  const size_t end =
      quote ? line.find_first_of(U"「」", i + 1) : line.find_first_of(U"()（）", i + 1);
  if (end == line.npos) return i;
  return contains(quote ? CharsView(U"」") : CharsView(U")）"), line[end]) ? end : i;
}

int64_t count_in_line(CharsView line) {
  int64_t count = 0;
  bool open = false;
  size_t quoted_to = 0;  // stops up to here end nothing
  for (size_t i = 0; i < line.size(); ++i) {
    if (!open) ++count;
    open = true;
    if (contains(U"「(（", line[i])) quoted_to = std::max(quoted_to, closing_of(line, i));
    if (is_stop(line[i]) && i >= quoted_to) open = false;
  }
  return count;
}

}  // namespace

int64_t japanese_sentence_count(CharsView text) {
  const Chars normal = normalised(text);
  int64_t count = 0;
  Chars joined;
  const std::vector<CharsView> lines = split_lines(normal);
  for (size_t i = 0; i < lines.size(); ++i) {
    joined += lines[i];
    const bool goes_on = joined.size() > 1 && joined.back() == U'の' && i + 1 < lines.size();
    if (goes_on) continue;
    count += count_in_line(joined);
    joined.clear();
  }
  return count;
}

}  // namespace dure::instructions
