// Affixes come off a piece between blanks from both sides, then infixes cut what is left.
#include "grade/instructions/spanish.h"

#include <utf8proc.h>

#include <algorithm>
#include <unordered_set>

namespace dure::instructions {
namespace {

constexpr CharsView kMarks = U"…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪";
constexpr CharsView kQuotes = U"'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉⟦⟧";
constexpr CharsView kCurrencies =
    U"$£€¥฿₽﷼₴₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₵₶₷₸₹₺"
    U"₻"
    U"₼"
    U"₾"
    U"₿";

utf8proc_category_t category_of(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}
bool is_icon(char32_t c) { return c > 0x7F && category_of(c) == UTF8PROC_CATEGORY_SO; }
bool is_ascii_digit(char32_t c) { return c >= U'0' && c <= U'9'; }
bool is_small(char32_t c) { return is_letter(c) && !is_upper(c); }
bool is_large(char32_t c) { return is_letter(c) && !is_lower(c); }

// Written with their stop, or whole where a rule would cut them.
bool is_exception(CharsView word) {
  static const std::unordered_set<CharsView> words = {
      U"n°",       U"°C",     U"aprox.", U"dna.",   U"dpto.",  U"ej.",   U"esq.",   U"pág.",
      U"p.ej.",    U"Ud.",    U"Vd.",    U"Uds.",   U"Vds.",   U"vol.",  U"a.C.",   U"a.J.C.",
      U"d.C.",     U"d.J.C.", U"apdo.",  U"Av.",    U"Avda.",  U"Cía.",  U"Dr.",    U"Dra.",
      U"EE.UU.",   U"Ee.Uu.", U"etc.",   U"fig.",   U"Gob.",   U"Gral.", U"Ing.",   U"J.C.",
      U"km/h",     U"Lic.",   U"m.n.",   U"núm.",   U"P.D.",   U"Prof.", U"Profa.", U"q.e.p.d.",
      U"Q.E.P.D.", U"S.A.",   U"S.L.",   U"S.R.L.", U"s.s.s.", U"Sr.",   U"Sra.",   U"Srta.",
      U"'",        U"''",     U"C++",    U"\\n",    U"\\t",    U":)",    U":-)",    U":(",
      U":-(",      U";)",     U";-)",    U":D",     U":-D",    U":/",    U":-/",    U":P",
      U":-P",      U":o",     U":O",     U"xD",     U"XD",     U"<3",    U"^_^",    U"-_-"};
  if (word.size() == 2 && word[1] == U'.')
    return (word[0] >= U'a' && word[0] <= U'z') || contains(U"äöü", word[0]);
  constexpr size_t kLongest = 10;
  return word.size() <= kLongest && words.contains(word);
}

size_t dots_at(CharsView text, size_t i) {  // two or more
  size_t end = i;
  while (end < text.size() && text[end] == U'.') ++end;
  return end - i >= 2 ? end - i : 0;
}

size_t prefix_length(CharsView text) {
  const char32_t c = text[0];
  if (const size_t dots = dots_at(text, 0)) return dots;
  if (c == U'+') return text.size() > 1 && is_ascii_digit(text[1]) ? 0 : 1;
  const bool cut = contains(U"§%=—–", c) || contains(kMarks, c) || contains(kQuotes, c) ||
                   contains(kCurrencies, c) || is_icon(c);
  return cut ? 1 : 0;
}

size_t unit_length(CharsView text) {
  static const std::unordered_set<CharsView> units = {
      U"km", U"km²", U"km³", U"m",    U"m²",  U"m³",  U"dm",  U"cm", U"cm²",  U"cm³", U"mm",
      U"ha", U"µm",  U"nm",  U"yd",   U"in",  U"ft",  U"kg",  U"g",  U"mg",   U"µg",  U"t",
      U"lb", U"oz",  U"m/s", U"km/h", U"kmh", U"mph", U"hPa", U"Pa", U"mbar", U"mb",  U"MB",
      U"kb", U"KB",  U"gb",  U"GB",   U"tb",  U"TB",  U"T",   U"G",  U"M",    U"K"};
  for (size_t length = std::min<size_t>(4, text.size() - 1); length > 0; --length)
    if (units.contains(text.substr(text.size() - length)) &&
        is_ascii_digit(text[text.size() - length - 1]))
      return length;
  return 0;
}

bool is_stop_cut(CharsView text) {  // a full stop behind a small letter, a digit, a mark
  if (text.size() < 2 || text.back() != U'.') return false;
  const char32_t before = text[text.size() - 2];
  if (is_ascii_digit(before) || is_small(before) || contains(U"%²-+", before) ||
      contains(kMarks, before) || contains(kQuotes, before))
    return true;
  return text.size() > 2 && is_large(before) && is_large(text[text.size() - 3]);
}

size_t suffix_length(CharsView text) {
  const char32_t c = text.back();
  size_t dots = 0;
  while (dots < text.size() && text[text.size() - 1 - dots] == U'.') ++dots;
  if (dots >= 2) return dots;
  if (contains(U"—–", c) || contains(kMarks, c) || contains(kQuotes, c) || is_icon(c)) return 1;
  if (is_stop_cut(text)) return 1;
  if (text.size() < 2) return 0;
  const char32_t before = text[text.size() - 2];
  if (is_ascii_digit(before) && (c == U'+' || contains(kCurrencies, c))) return 1;
  return unit_length(text);
}

// The mark at i, within the word: how long, or 0.
size_t infix_length(CharsView text, size_t i) {
  const char32_t c = text[i];
  if (const size_t dots = dots_at(text, i)) return dots;
  if (c == U'…' || is_icon(c)) return 1;
  if (i == 0 || i + 1 >= text.size()) return 0;
  const char32_t before = text[i - 1], after = text[i + 1];
  const auto quote = [](char32_t mark) { return contains(kQuotes, mark) || contains(U"—–", mark); };
  bool cut = false;
  if (contains(U"+*^", c)) cut = is_ascii_digit(before) && (is_ascii_digit(after) || after == U'-');
  if (c == U'.') cut = (is_small(before) || quote(before)) && (is_large(after) || quote(after));
  if (c == U',') cut = is_letter(before) && is_letter(after);
  if (contains(U":<>=/", c))
    cut = (is_letter(before) || is_ascii_digit(before)) && is_letter(after);
  return cut ? 1 : 0;
}

bool is_link(CharsView word) {
  return contains(word, CharsView(U"://")) || word.starts_with(U"www.") ||
         (contains(word, U'@') && contains(word, U'.'));
}

void add_core(CharsView core, std::vector<CharsView>& out) {
  if (core.empty()) return;
  if (is_exception(core) || is_link(core)) {
    out.push_back(core);
    return;
  }
  size_t begin = 0;
  for (size_t i = 0; i < core.size();) {
    const size_t length = infix_length(core, i);
    if (length == 0) {
      ++i;
      continue;
    }
    if (i > begin) out.push_back(core.substr(begin, i - begin));
    out.push_back(core.substr(i, length));
    i += length;
    begin = i;
  }
  if (begin < core.size()) out.push_back(core.substr(begin));
}

void add_piece(CharsView piece, std::vector<CharsView>& out) {
  std::vector<CharsView> suffixes;
  while (!piece.empty() && !is_exception(piece)) {
    const size_t prefix = prefix_length(piece);
    if (prefix > 0) {
      out.push_back(piece.substr(0, prefix));
      piece.remove_prefix(prefix);
      if (piece.empty() || is_exception(piece)) break;
    }
    const size_t suffix = suffix_length(piece);
    if (suffix > 0) {
      suffixes.push_back(piece.substr(piece.size() - suffix));
      piece.remove_suffix(suffix);
    }
    if (prefix == 0 && suffix == 0) break;
  }
  add_core(piece, out);
  out.insert(out.end(), suffixes.rbegin(), suffixes.rend());
}

bool ends_sentence(CharsView word) {
  return word == U"." || word == U"?" || word == U"!" || word == U"..." || word == U"…";
}

}  // namespace

std::vector<CharsView> spanish_words(CharsView text) {
  std::vector<CharsView> out;
  for (size_t i = 0; i < text.size();) {
    const bool blank = is_space(text[i]);
    size_t begin = i;
    while (i < text.size() && is_space(text[i]) == blank) ++i;
    if (!blank) {
      add_piece(text.substr(begin, i - begin), out);
    } else {
      if (begin > 0 && text[begin] == U' ') ++begin;  // one blank belongs to the word before
      if (i > begin) out.push_back(text.substr(begin, i - begin));
    }
  }
  return out;
}

bool is_mark(CharsView word) {
  return std::all_of(word.begin(), word.end(), [](char32_t c) {
    const auto category = category_of(c);
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
  });
}

int64_t spanish_sentence_count(CharsView text) {
  int64_t count = 0;
  bool open = false, word_since = false;
  for (const CharsView word : spanish_words(text)) {
    const bool blank = is_space(word[0]);
    if (!open && !blank && !is_mark(word)) {
      open = true;
      ++count;
    }
    word_since = word_since || (!blank && !is_mark(word));
    // Line ends by themselves end nothing: the parser joins headings and what they head.
    if (word_since && ends_sentence(word)) {
      open = false;
      word_since = false;
    }
  }
  return count;
}

}  // namespace dure::instructions
