// Substitutions in the order of the rules: <prd> stands for a stop that ends nothing, <stop> for an
// end. Each pass looks at every place once.
#include "grade/instructions/rule_sentences.h"

#include <algorithm>
#include <optional>

namespace dure::instructions {
namespace {

constexpr CharsView kStop = U"<stop>", kDot = U"<prd>";
using Words = std::initializer_list<CharsView>;
constexpr Words kTitles = {U"Mr", U"St", U"Mrs", U"Ms", U"Dr"};
constexpr Words kSuffixes = {U"Inc", U"Ltd", U"Jr", U"Sr", U"Co"};
constexpr Words kSites = {U"com", U"net", U"org", U"io", U"gov", U"edu", U"me"};
// Those that open a sentence; the second row needs a blank behind it.
constexpr Words kOpeners = {U"Mr",   U"Mrs", U"Ms", U"Dr",      U"Prof",
                            U"Capt", U"Cpt", U"Lt", U"Wherever"};
constexpr Words kBlankOpeners = {U"He", U"She", U"It",      U"They", U"Their", U"Our",
                                 U"We", U"But", U"However", U"That", U"This"};

bool is_latin(char32_t c) { return (c >= U'a' && c <= U'z') || (c >= U'A' && c <= U'Z'); }
bool is_capital(char32_t c) { return c >= U'A' && c <= U'Z'; }
bool is_ascii_digit(char32_t c) { return c >= U'0' && c <= U'9'; }

struct Change {
  size_t length = 0;  // of what is replaced
  Chars with;
};
// `change` sees what begins at a place; absent: nothing to replace there.
template <typename Find>
void substitute(Chars& text, const Find& change) {
  Chars out;
  for (size_t i = 0; i < text.size();) {
    if (const std::optional<Change> found = change(CharsView(text).substr(i))) {
      out += found->with;
      i += found->length;
    } else {
      out += text[i++];
    }
  }
  text = std::move(out);
}

// Which of `words` stands at the start with `behind` after it; empty: none.
CharsView word_at(CharsView rest, Words words, CharsView behind) {
  for (const CharsView word : words)
    if (rest.starts_with(word) && rest.substr(word.size()).starts_with(behind)) return word;
  return {};
}

bool opens(CharsView rest) {
  if (!word_at(rest, kOpeners, U"").empty()) return true;
  return std::any_of(kBlankOpeners.begin(), kBlankOpeners.end(), [&](CharsView word) {
    return rest.starts_with(word) && rest.size() > word.size() && is_space(rest[word.size()]);
  });
}

// "A.B." of `count` letters.
template <typename Letter>
bool are_initials(CharsView rest, size_t count, const Letter& letter) {
  if (rest.size() < 2 * count) return false;
  for (size_t i = 0; i < 2 * count; i += 2)
    if (!letter(rest[i]) || rest[i + 1] != U'.') return false;
  return true;
}

void keep_titles_and_sites(Chars& text) {
  substitute(text, [](CharsView rest) -> std::optional<Change> {
    const CharsView title = word_at(rest, kTitles, U".");
    if (title.empty()) return std::nullopt;
    return Change{title.size() + 1, Chars(title) + Chars(kDot)};
  });
  substitute(text, [](CharsView rest) -> std::optional<Change> {
    if (rest[0] != U'.' || word_at(rest.substr(1), kSites, U"").empty()) return std::nullopt;
    return Change{1, Chars(kDot)};
  });
}

void keep_numbers_and_dots(Chars& text) {
  substitute(text, [](CharsView rest) -> std::optional<Change> {
    if (rest.size() < 3 || !is_ascii_digit(rest[0]) || rest[1] != U'.' || !is_ascii_digit(rest[2]))
      return std::nullopt;
    return Change{3, (rest[0] + Chars(kDot)) + rest[2]};
  });
  substitute(text, [](CharsView rest) -> std::optional<Change> {
    const size_t dots = std::min(rest.find_first_not_of(U'.'), rest.size());
    if (dots < 2) return std::nullopt;
    Chars with;
    for (size_t i = 0; i < dots; ++i) with += kDot;
    return Change{dots, with + Chars(kStop)};
  });
}

void keep_single_letter(Chars& text) {  // between white space and a blank
  substitute(text, [](CharsView rest) -> std::optional<Change> {
    if (rest.size() < 4 || !is_space(rest[0]) || !is_latin(rest[1]) || rest[2] != U'.' ||
        rest[3] != U' ')
      return std::nullopt;
    return Change{4, (U' ' + Chars(1, rest[1])) + Chars(kDot) + U' '};
  });
}

void end_after_acronym(Chars& text) {
  substitute(text, [](CharsView rest) -> std::optional<Change> {
    for (const size_t letters : {size_t{3}, size_t{2}}) {
      if (!are_initials(rest, letters, is_capital)) continue;
      const CharsView behind = rest.substr(2 * letters);
      if (behind.starts_with(U' ') && opens(behind.substr(1)))
        return Change{2 * letters, Chars(rest.substr(0, 2 * letters)) + Chars(kStop)};
    }
    return std::nullopt;
  });
}

void keep_initials(Chars& text, size_t count) {
  substitute(text, [count](CharsView rest) -> std::optional<Change> {
    if (!are_initials(rest, count, is_latin)) return std::nullopt;
    Chars with;
    for (size_t i = 0; i < count; ++i) (with += rest[2 * i]) += kDot;
    return Change{2 * count, with};
  });
}

void handle_suffixes(Chars& text) {
  substitute(text, [](CharsView rest) -> std::optional<Change> {
    if (rest[0] != U' ') return std::nullopt;
    const CharsView suffix = word_at(rest.substr(1), kSuffixes, U". ");
    if (suffix.empty() || !opens(rest.substr(suffix.size() + 3))) return std::nullopt;
    return Change{suffix.size() + 2, (U' ' + Chars(suffix)) + Chars(kStop)};
  });
  substitute(text, [](CharsView rest) -> std::optional<Change> {
    if (rest[0] != U' ') return std::nullopt;
    const CharsView suffix = word_at(rest.substr(1), kSuffixes, U".");
    if (suffix.empty()) return std::nullopt;
    return Change{suffix.size() + 2, (U' ' + Chars(suffix)) + Chars(kDot)};
  });
  substitute(text, [](CharsView rest) -> std::optional<Change> {
    if (rest.size() < 3 || rest[0] != U' ' || !is_latin(rest[1]) || rest[2] != U'.')
      return std::nullopt;
    return Change{3, (U' ' + Chars(1, rest[1])) + Chars(kDot)};
  });
}

void end_at_marks(Chars& text) {
  text = replaced(text, U".”", U"”.");
  text = replaced(text, U".\"", U"\".");
  text = replaced(text, U"!\"", U"\"!");
  text = replaced(text, U"?\"", U"\"?");
  for (const char32_t mark : {U'.', U'?', U'!'}) {
    const Chars one(1, mark);
    text = replaced(text, one, one + Chars(kStop));
  }
  text = replaced(text, kDot, U".");
}

}  // namespace

std::vector<Chars> rule_sentences(CharsView whole) {
  Chars text = (U' ' + replaced(whole, U"\n", U" ")) + U"  ";
  keep_titles_and_sites(text);
  keep_numbers_and_dots(text);
  text = replaced(text, U"Ph.D.", U"Ph<prd>D<prd>");
  keep_single_letter(text);
  end_after_acronym(text);
  keep_initials(text, 3);
  keep_initials(text, 2);
  handle_suffixes(text);
  end_at_marks(text);
  std::vector<Chars> out;
  for (const CharsView sentence : split(text, kStop)) out.emplace_back(strip(sentence));
  if (!out.empty() && out.back().empty()) out.pop_back();
  return out;
}

}  // namespace dure::instructions
