// The patterns as text, and K-EXAONE's two as a scanner: the first characters of a piece say which
// alternative takes it, without backtracking.
#include "text/pretokeniser.h"

namespace dure {

const char* const kSuperwordPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)";
const char* const kWordPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)";
const char* const kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

// Bytes of the contraction at `p` (an apostrophe), 0 where there is none. Case-insensitive: U+017F
// folds to s.
int contraction_length(const char* p, const char* end) {
  const auto lower = [&](int i) {
    return p + i < end ? static_cast<unsigned char>(p[i]) | 0x20u : 0u;
  };
  switch (lower(1)) {
    case 's':
    case 't':
    case 'm':
    case 'd':
      return 2;
    case 'r':
    case 'v':
      return lower(2) == 'e' ? 3 : 0;
    case 'l':
      return lower(2) == 'l' ? 3 : 0;
    default:
      return end - p >= 3 && p[1] == '\xC5' && p[2] == '\xBF' ? 3 : 0;
  }
}

template <bool kJoinWords>
const char* letters_end(const CharTable& table, const char* p, const char* end) {
  while (p < end) {
    const Char c = table.at(p);
    if (c.bits & (kCharLetter | kCharMark)) {
      p += c.length;
    } else if (kJoinWords && c.code == ' ' && p + 1 < end && (table.bits_at(p + 1) & kCharLetter)) {
      ++p;
    } else {
      break;
    }
  }
  return p;
}

bool is_other(uint8_t bits) { return (bits & (kCharLetter | kCharNumber | kCharSpace)) == 0; }

const char* punctuation_end(const CharTable& table, const char* p, const char* end) {
  while (p < end) {
    const Char c = table.at(p);
    if (!is_other(c.bits)) break;
    p += c.length;
  }
  // A slash is punctuation itself, so only a line break can still follow.
  return p < end && (*p == '\r' || *p == '\n') ? p + 1 : p;
}

const char* space_end(const CharTable& table, const char* begin, const char* end) {
  const char* p = begin;
  const char* last = begin;  // Where the last white space character begins.
  const char* after_break = nullptr;
  while (p < end) {
    const Char c = table.at(p);
    if (!(c.bits & kCharSpace)) break;
    last = p;
    p += c.length;
    if (c.code == '\r' || c.code == '\n') after_break = p;
  }
  if (after_break != nullptr) return after_break;
  return p == end || last == begin ? p : last;
}

template <bool kJoinWords>
void scan(std::string_view text, std::vector<size_t>& ends) {
  const CharTable& table = CharTable::get();
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  for (const char* p = begin; p < end;) {
    p = exaone_piece_end<kJoinWords>(table, p, end);
    ends.push_back(static_cast<size_t>(p - begin));
  }
}

}  // namespace

template <bool kJoinWords>
const char* exaone_piece_end(const CharTable& table, const char* p, const char* end) {
  const Char c = table.at(p);
  const char* const next = p + c.length;
  if (c.bits & kCharLetter) return letters_end<kJoinWords>(table, next, end);
  if (c.bits & kCharNumber) return next;
  if (c.code == '\'') {
    if (const int length = contraction_length(p, end); length > 0) return p + length;
  }
  if (next < end && c.code != '\r' && c.code != '\n') {
    const Char after = table.at(next);
    if (after.bits & kCharLetter) return letters_end<kJoinWords>(table, next + after.length, end);
    if (c.code == ' ' && is_other(after.bits)) return punctuation_end(table, next, end);
  }
  return (c.bits & kCharSpace) ? space_end(table, p, end) : punctuation_end(table, next, end);
}

template const char* exaone_piece_end<false>(const CharTable& table, const char* p,
                                             const char* end);
template const char* exaone_piece_end<true>(const CharTable& table, const char* p, const char* end);

PreTokeniser::PreTokeniser(std::vector<std::string> patterns, std::string_view source)
    : patterns_(std::move(patterns)) {
  if (patterns_.size() == 1 && patterns_[0] == kSuperwordPattern) kind_ = Kind::kSuperwords;
  if (patterns_.size() == 1 && patterns_[0] == kWordPattern) kind_ = Kind::kWords;
  if (kind_ != Kind::kPatterns) return;
  for (const std::string& pattern : patterns_) regexes_.emplace_back(pattern, source);
}

void PreTokeniser::split(std::string_view text, std::vector<size_t>& ends) const {
  ends.clear();
  if (text.empty()) return;
  if (kind_ == Kind::kWords) return scan<false>(text, ends);
  if (kind_ == Kind::kSuperwords) return scan<true>(text, ends);
  ends.push_back(text.size());
  std::vector<size_t> finer;
  for (const Regex& regex : regexes_) {
    finer.clear();
    size_t begin = 0;
    for (const size_t end : ends) {
      const size_t first = finer.size();
      regex.split(text.substr(begin, end - begin), finer);
      for (size_t i = first; i < finer.size(); ++i) finer[i] += begin;
      begin = end;
    }
    ends.swap(finer);
  }
}

}  // namespace dure
