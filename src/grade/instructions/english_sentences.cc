// Punkt's decisions: candidates by the marks . ? !, a context of two words, three heuristics.
#include <algorithm>
#include <array>
#include <unordered_set>

#include "grade/instructions/english.h"

namespace dure::instructions {
namespace {

using Words = std::unordered_set<std::u32string_view>;

// Written from the rules of English usage: titles, months and days, states, companies, ranks and
// streets. As in the model, "e.g." and "i.e." and "etc." are none: a sentence may end there.
const Words& abbreviations() {
  static const Words words = {
      U"mr",   U"mrs",   U"ms",   U"dr",   U"prof",  U"rep",     U"reps", U"sen",    U"gen",
      U"lt",   U"col",   U"maj",  U"adm",  U"st",    U"jr",      U"sr",   U"messrs", U"jan",
      U"feb",  U"aug",   U"sept", U"sep",  U"oct",   U"nov",     U"dec",  U"tues",   U"wed",
      U"fri",  U"calif", U"conn", U"ala",  U"ariz",  U"colo",    U"fla",  U"ga",     U"ill",
      U"kan",  U"ky",    U"mich", U"minn", U"okla",  U"ore",     U"pa",   U"tenn",   U"va",
      U"vt",   U"wash",  U"wis",  U"nev",  U"inc",   U"ltd",     U"co",   U"cos",    U"corp",
      U"bros", U"cie",   U"ave",  U"ft",   U"vs",    U"ct",      U"chg",  U"yr",     U"mg",
      U"ok",   U"u.s",   U"u.k",  U"u.n",  U"u.s.a", U"u.s.s.r", U"a.m",  U"p.m",    U"d.c",
      U"ph.d", U"m.b.a", U"w.va"};
  return words;
}

// Letters that stand for a unit, a direction or a page.
bool is_unit_letter(char32_t c) { return contains(U"tnhmpwvlsrkegdcf", c); }

// Two letters with stops: people, states and companies that papers name so. Others, such as "e.g."
// and "P.S.", may end a sentence.
const Words& letter_pairs() {
  static const Words words = {U"n.h", U"n.c", U"n.j", U"n.m", U"n.d", U"n.y", U"s.c", U"r.i",
                              U"s.a", U"n.v", U"a.g", U"j.p", U"j.c", U"j.r", U"j.j", U"j.k",
                              U"r.j", U"e.f", U"h.f", U"b.f", U"w.r", U"d.h", U"t.j"};
  return words;
}

bool is_abbreviation(CharsView word) {
  return (word.size() == 1 && is_unit_letter(word[0])) || abbreviations().contains(word) ||
         letter_pairs().contains(word);
}

// Words that open sentences, and are hardly ever written large within one.
const Words& openers() {
  static const Words words = {
      U"he",        U"it",          U"they",         U"i",        U"her",
      U"your",      U"this",        U"these",        U"there",    U"here",
      U"but",       U"so",          U"yet",          U"nor",      U"if",
      U"when",      U"while",       U"since",        U"although", U"though",
      U"despite",   U"however",     U"instead",      U"indeed",   U"moreover",
      U"meanwhile", U"nonetheless", U"nevertheless", U"thus",     U"similarly",
      U"both",      U"some",        U"many",         U"most",     U"under",
      U"in",        U"even",        U"the",          U"among",    U"separately",
      U"does"};
  return words;
}

bool closes(char32_t c) { return contains(U"\"')]}", c); }
bool is_non_word(char32_t c) { return contains(U")\";}]*:@'({[?!", c); }
bool is_end_mark(char32_t c) { return c == U'.' || c == U'?' || c == U'!'; }
bool is_ascii_space(char32_t c) { return c == U' ' || (c >= 9 && c <= 13); }

struct Token {
  CharsView text;
  bool breaks = false;
  bool abbreviation = false;
  bool ellipsis = false;
};

// ". . ." from i on: the length, or 0.
size_t spaced_dots(CharsView text, size_t i) {
  size_t length = 0, at = i;
  while (at + 2 < text.size() && text[at] == U'.' && is_space(text[at + 1])) {
    at += 2;
    if (text[at] == U'.' && at - i >= 4) length = at + 1 - i;
    if (text[at] != U'.') break;
  }
  return length;
}
bool starts_marks(CharsView text, size_t i) {  // a run of dashes or dots
  if (i + 1 < text.size() && (text[i] == U'-' || text[i] == U'.') && text[i] == text[i + 1])
    return true;
  return i + 4 < text.size() && text[i] == U'.' && is_space(text[i + 1]) && text[i + 2] == U'.' &&
         is_space(text[i + 3]) && text[i + 4] == U'.';
}
size_t marks_length(CharsView text, size_t i) {
  if (i + 1 >= text.size() || !starts_marks(text, i)) return 0;
  size_t end = i;
  while (end < text.size() && text[end] == text[i]) ++end;
  return end - i >= 2 ? end - i : spaced_dots(text, i);
}
bool ends_word(CharsView text, size_t i) {
  const auto stops = [&](size_t at) {
    return at >= text.size() || is_space(text[at]) || is_non_word(text[at]) ||
           starts_marks(text, at);
  };
  return stops(i) || (text[i] == U',' && stops(i + 1));
}

void add_line_tokens(CharsView line, std::vector<Token>& tokens) {
  for (size_t i = 0; i < line.size();) {
    if (is_space(line[i])) {
      ++i;
      continue;
    }
    size_t length = marks_length(line, i);
    if (length == 0) {
      length = 1;
      if (!contains(U"(\"`{[:;&#*@)}]-,", line[i]))
        while (!ends_word(line, i + length)) ++length;
    }
    tokens.push_back({line.substr(i, length)});
    i += length;
  }
}

std::vector<Token> tokens_of(CharsView context) {
  std::vector<Token> tokens;
  for (const CharsView line : split(context, U"\n")) add_line_tokens(line, tokens);
  return tokens;
}

// From the word alone.
void judge_word(Token& token) {
  const CharsView text = token.text;
  if (text.size() == 1 && is_end_mark(text[0])) {
    token.breaks = true;
  } else if (text.size() > 1 && text.find_first_not_of(U'.') == text.npos) {
    token.ellipsis = true;
  } else if (text.back() == U'.' && !text.ends_with(U"..")) {
    const Chars word = lower(text.substr(0, text.size() - 1));
    const CharsView last = CharsView(word).substr(word.rfind(U'-') + 1);
    token.abbreviation = is_abbreviation(word) || is_abbreviation(last);
    token.breaks = !token.abbreviation;
  }
}

// -?[.,]?\d[\d,.-]*\.?
bool is_numeric(CharsView text) {
  if (!text.empty() && text[0] == U'-') text.remove_prefix(1);
  if (!text.empty() && (text[0] == U'.' || text[0] == U',')) text.remove_prefix(1);
  if (text.empty() || !is_decimal(text[0])) return false;
  return std::all_of(text.begin(), text.end(), [](char32_t c) {
    return is_decimal(c) || c == U',' || c == U'.' || c == U'-';
  });
}

enum class Opens { kYes, kNo, kUnknown };

bool opens_by_list(const Token& token) {
  Chars word = lower(token.text);
  if (token.breaks && word.size() > 1 && word.back() == U'.') word.pop_back();
  return openers().contains(word);
}
// The orthographic heuristic.
Opens opens_sentence(const Token& token) {
  if (token.text.size() == 1 && contains(U";:,.!?", token.text[0])) return Opens::kNo;
  if (is_upper(token.text[0]) && opens_by_list(token)) return Opens::kYes;
  return is_lower(token.text[0]) ? Opens::kNo : Opens::kUnknown;
}

// From the word that follows.
void judge_pair(Token& token, const Token& next, bool starts_line) {
  if (token.text.back() != U'.') return;
  const bool initial = token.text.size() == 2 && is_letter(token.text[0]);
  const Opens opens = opens_sentence(next);
  if ((token.abbreviation || token.ellipsis) && !initial && opens == Opens::kYes) {
    token.breaks = true;
    return;
  }
  if (!initial && !is_numeric(token.text)) return;
  // "J. Bach" is a name; "I. Introduction" at the start of a line is a heading.
  const bool name = opens == Opens::kUnknown && initial && is_upper(next.text[0]) && !starts_line;
  if (opens == Opens::kNo || name) {
    token.breaks = false;
    token.abbreviation = true;
  }
}

bool breaks_within(CharsView context, bool starts_line) {
  std::vector<Token> tokens = tokens_of(context);
  for (Token& token : tokens) judge_word(token);
  for (size_t i = 0; i + 1 < tokens.size(); ++i) {
    judge_pair(tokens[i], tokens[i + 1], starts_line);
    if (tokens[i].breaks) return true;
  }
  return false;
}

struct Span {
  size_t begin = 0, end = 0;
};

// A mark that may end a sentence, with what follows it.
struct Candidate {
  size_t at = 0;         // of the mark
  size_t after_end = 0;  // behind the next word, or behind the mark that follows
  size_t next = 0;       // where the next word begins; 0: a mark follows at once
  Span word;             // before the mark
};

bool follow(CharsView text, Candidate& candidate) {
  size_t i = candidate.at + 1;
  if (i < text.size() && is_non_word(text[i])) {
    candidate.after_end = i + 1;
    return true;
  }
  while (i < text.size() && is_space(text[i])) ++i;
  if (i == candidate.at + 1 || i >= text.size()) return false;
  candidate.next = i;
  while (i < text.size() && !is_space(text[i])) ++i;
  candidate.after_end = i;
  return true;
}

// The word before: back to white space, or as far as the previous candidate's word where there is
// none between (then the two are one).
Span word_before(CharsView text, const Span& previous, size_t at) {
  size_t i = at;
  while (i > previous.end && !is_ascii_space(text[i - 1])) --i;
  // White space as the very first character counts as none, as it does in NLTK.
  if (i <= previous.end + 1) return {previous.begin, at};
  return {i, at};
}

std::vector<Candidate> candidates(CharsView text) {
  std::vector<Candidate> out;
  Span previous;
  for (size_t i = 0; i < text.size(); ++i) {
    Candidate candidate{.at = i};
    if (!is_end_mark(text[i]) || !follow(text, candidate)) continue;
    candidate.word = word_before(text, previous, i);
    if (!out.empty() && previous.end > candidate.word.begin) out.pop_back();
    previous = candidate.word;
    out.push_back(candidate);
  }
  return out;
}

// Whether only blanks and marks of lists stand before `at` on its line.
bool starts_line(CharsView text, size_t at) {
  while (at > 0 && contains(U" \t-*#>", text[at - 1])) --at;
  return at == 0 || text[at - 1] == U'\n';
}

std::vector<Span> raw_sentences(CharsView text) {
  std::vector<Span> out;
  size_t begin = 0;
  for (const Candidate& candidate : candidates(text)) {
    Chars context(text.substr(candidate.word.begin, candidate.word.end - candidate.word.begin));
    context += text.substr(candidate.at, candidate.after_end - candidate.at);
    if (!breaks_within(context, starts_line(text, candidate.word.begin))) continue;
    out.push_back({begin, candidate.at + 1});
    begin = candidate.next > 0 ? candidate.next : candidate.at + 1;
  }
  size_t end = text.size();
  while (end > 0 && is_space(text[end - 1])) --end;
  out.push_back({begin, std::max(begin, end)});
  return out;
}

// Closing marks at the start of a sentence that belong to the one before: how many, and how far
// white space behind them reaches; {0, 0} where there are none.
Span closing_marks(CharsView sentence) {
  size_t marks = 0;
  while (marks < sentence.size() && closes(sentence[marks])) {
    ++marks;
    const CharsView rest = sentence.substr(marks);
    if (rest.empty() || rest.starts_with(U"--")) return {marks, marks};
    size_t blank = 0;
    while (blank < rest.size() && is_space(rest[blank])) ++blank;
    if (blank > 0) return {marks, marks + blank};
  }
  return {0, 0};
}

}  // namespace

std::vector<CharsView> english_sentences(CharsView text) {
  std::vector<CharsView> out;
  const std::vector<Span> spans = raw_sentences(text);
  size_t moved = 0;
  const auto add = [&](size_t begin, size_t end) {
    if (end > begin) out.push_back(text.substr(begin, end - begin));
  };
  for (size_t i = 0; i < spans.size(); ++i) {
    const size_t begin = spans[i].begin + moved;
    if (i + 1 == spans.size()) {
      add(begin, spans[i].end);
      break;
    }
    const Span& next = spans[i + 1];
    const Span marks = closing_marks(text.substr(next.begin, next.end - next.begin));
    moved = marks.end;
    add(begin, marks.begin > 0 ? next.begin + marks.begin : spans[i].end);
  }
  return out;
}

}  // namespace dure::instructions
