// Treebank's substitutions, one pass each, in their order.
#include <algorithm>
#include <functional>
#include <unordered_set>

#include "grade/instructions/english.h"

namespace dure::instructions {
namespace {

// Every character of `marks` by itself, with a blank on both sides.
void pad_each(Chars& text, CharsView marks) {
  Chars out;
  for (const char32_t c : text) {
    if (contains(marks, c))
      (out += U' ').append(1, c) += U' ';
    else
      out += c;
  }
  text = std::move(out);
}
// Runs of `mark` of at least `least`, padded as one.
void pad_runs(Chars& text, char32_t mark, size_t least) {
  Chars out;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && text[end] == mark) ++end;
    if (end - i >= least) {
      (out += U' ').append(end - i, mark) += U' ';
    } else if (end > i) {
      out.append(end - i, mark);
    } else {
      out += text[end++];
    }
    i = end;
  }
  text = std::move(out);
}
void pad(Chars& text, CharsView part, CharsView with) {
  Chars padded;
  ((padded += U' ') += with) += U' ';
  text = replaced(text, part, padded);
}

// A quotation mark behind a blank or a bracket opens.
void open_quotes(Chars& text) {
  Chars out;
  for (size_t i = 0; i < text.size();) {
    const CharsView rest = CharsView(text).substr(i + 1);
    if (contains(U" ([{<", text[i]) && (rest.starts_with(U"\"") || rest.starts_with(U"''"))) {
      (out += text[i]) += U" `` ";
      i += rest[0] == U'"' ? 2 : 3;
    } else {
      out += text[i++];
    }
  }
  text = std::move(out);
}

// 'x where x is a word of one letter and no ending such as 's.
void part_single_letters(Chars& text) {
  Chars out;
  for (size_t i = 0; i < text.size(); ++i) {
    out += text[i];
    if (text[i] != U'\'' || i + 1 >= text.size() || !is_word_char(text[i + 1])) continue;
    if (i + 2 < text.size() && is_word_char(text[i + 2])) continue;
    if (contains(U"mtsdnMTSDN\u017F", text[i + 1])) continue;
    (out += U' ') += text[++i];
  }
  text = std::move(out);
}

void starting_quotes(Chars& text) {
  Chars out;
  pad_each(text, U"«“‘„");
  pad_runs(text, U'`', 1);
  if (text.starts_with(U'"')) text.replace(0, 1, U"``");
  pad(text, U"``", U"``");
  open_quotes(text);
  part_single_letters(text);
}

// The full stop that ends the text, closing marks behind it.
void final_stop(Chars& text) {
  size_t end = text.size();
  while (end > 0 && is_space(text[end - 1]) && text[end - 1] != U' ') --end;
  const size_t blank = end;
  while (end > 0 && contains(U"])}>\"'»”’ ", text[end - 1])) --end;
  if (end < 2 || text[end - 1] != U'.' || text[end - 2] == U'.') return;
  const Chars closing = text.substr(end, blank - end);
  text.resize(end - 1);
  ((text += U" . ") += closing) += U' ';
}

// Colon and comma before anything but a digit, and at the end.
void part_commas(Chars& text) {
  Chars out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool mark = text[i] == U':' || text[i] == U',';
    if (mark && i + 1 < text.size() && !is_decimal(text[i + 1])) {
      ((out += U' ') += text[i]) += U' ';
      out += text[++i];
    } else {
      out += text[i];
    }
  }
  size_t last = out.size();
  if (last > 0 && out[last - 1] == U'\n') --last;
  if (last > 0 && (out[last - 1] == U':' || out[last - 1] == U','))
    out.replace(last - 1, 1, {U' ', out[last - 1], U' '});
  text = std::move(out);
}

void part_closing_apostrophes(Chars& text) {  // x'_ where x is no apostrophe
  Chars out;
  for (size_t i = 0; i < text.size();) {
    if (text[i] != U'\'' && i + 2 < text.size() && text[i + 1] == U'\'' && text[i + 2] == U' ') {
      (out += text[i]) += U" ' ";
      i += 3;
    } else {
      out += text[i++];
    }
  }
  text = std::move(out);
}

void punctuation(Chars& text) {
  final_stop(text);
  part_commas(text);
  pad_runs(text, U'.', 2);
  pad_each(text, U";@#$%&");
  pad_each(text, U"?!");
  part_closing_apostrophes(text);
  pad_each(text, U"*");
  pad_each(text, U"][(){}<>");
  pad(text, U"--", U"--");
}

void one_blank(Chars& text) {
  Chars out;
  for (const char32_t c : text)
    if (!is_space(c))
      out += c;
    else if (out.empty() || out.back() != U' ')
      out += U' ';
  text = std::move(out);
}

// A blank before endings that stand behind a letter and before a blank.
void part_endings(Chars& text, std::initializer_list<CharsView> endings) {
  Chars out;
  for (size_t i = 0; i < text.size();) {
    const CharsView rest = CharsView(text).substr(i + 1);
    const auto fits = [&](CharsView ending) {
      return rest.starts_with(ending) && rest.size() > ending.size() && rest[ending.size()] == U' ';
    };
    const auto* found = text[i] == U'\'' || text[i] == U' '
                            ? endings.end()
                            : std::find_if(endings.begin(), endings.end(), fits);
    out += text[i++];
    if (found == endings.end()) continue;
    ((out += U' ') += *found) += U' ';
    i += found->size() + 1;
  }
  text = std::move(out);
}

void ending_quotes(Chars& text) {
  pad_each(text, U"»”’");
  pad(text, U"''", U"''");
  pad(text, U"\"", U"''");
  one_blank(text);
  part_endings(text, {U"'s", U"'S", U"'m", U"'M", U"'d", U"'D", U"'"});
  part_endings(text, {U"'ll", U"'LL", U"'re", U"'RE", U"'ve", U"'VE", U"n't", U"N'T"});
}

// Words that are two: "cannot" and its like.
void part_joined(Chars& text) {
  struct Joined {
    CharsView word;
    size_t first;
  };
  static constexpr Joined kJoined[] = {{U"cannot", 3}, {U"d'ye", 1},  {U"gimme", 3},  {U"gonna", 3},
                                       {U"gotta", 3},  {U"lemme", 3}, {U"more'n", 4}, {U"wanna", 3},
                                       {U"'tis", 2},   {U"'twas", 2}};
  const Chars low = lower(text);
  if (low.size() != text.size()) return;
  Chars out;
  for (size_t i = 0; i < text.size();) {
    const auto fits = [&](const Joined& joined) {
      if (!CharsView(low).substr(i).starts_with(joined.word)) return false;
      const size_t end = i + joined.word.size();
      if (end < text.size() && is_word_char(text[end])) return false;
      if (joined.word == U"wanna" && (end >= text.size() || text[end] != U' ')) return false;
      if (joined.word[0] == U'\'') return i > 0 && text[i - 1] == U' ';
      return i == 0 || !is_word_char(text[i - 1]);
    };
    const auto* found = std::find_if(std::begin(kJoined), std::end(kJoined), fits);
    if (found == std::end(kJoined)) {
      out += text[i++];
      continue;
    }
    const CharsView whole = CharsView(text).substr(i, found->word.size());
    (out += U' ') += whole.substr(0, found->first);
    ((out += U' ') += whole.substr(found->first)) += U' ';
    i += found->word.size();
  }
  text = std::move(out);
}

}  // namespace

std::vector<Chars> english_words(CharsView text) {
  std::vector<Chars> out;
  for (const CharsView sentence : english_sentences(text)) {
    Chars spaced(sentence);
    starting_quotes(spaced);
    punctuation(spaced);
    spaced = U' ' + spaced + U' ';
    ending_quotes(spaced);
    part_joined(spaced);
    for (const CharsView word : split(spaced)) out.emplace_back(word);
  }
  return out;
}

// Which words count is the benchmark's rule: articles and pronouns, the forms of be, have and do,
// joining words, prepositions, adverbs of place and degree, and what \w+ leaves of contractions.
bool is_stop_word(CharsView word) {
  static const std::unordered_set<CharsView> words = {
      U"a",       U"an",         U"the",    U"this",    U"that",    U"these",    U"those",
      U"such",    U"i",          U"me",     U"my",      U"myself",  U"we",       U"our",
      U"ours",    U"ourselves",  U"you",    U"your",    U"yours",   U"yourself", U"yourselves",
      U"he",      U"him",        U"his",    U"himself", U"she",     U"her",      U"hers",
      U"herself", U"it",         U"its",    U"itself",  U"they",    U"them",     U"their",
      U"theirs",  U"themselves", U"what",   U"which",   U"who",     U"whom",     U"when",
      U"where",   U"why",        U"how",    U"am",      U"is",      U"are",      U"was",
      U"were",    U"be",         U"been",   U"being",   U"have",    U"has",      U"had",
      U"having",  U"do",         U"does",   U"did",     U"doing",   U"can",      U"will",
      U"should",  U"and",        U"but",    U"if",      U"or",      U"because",  U"as",
      U"until",   U"while",      U"nor",    U"so",      U"than",    U"of",       U"at",
      U"by",      U"for",        U"with",   U"about",   U"against", U"between",  U"into",
      U"through", U"during",     U"before", U"after",   U"above",   U"below",    U"to",
      U"from",    U"up",         U"down",   U"in",      U"out",     U"on",       U"off",
      U"over",    U"under",      U"again",  U"further", U"then",    U"once",     U"here",
      U"there",   U"now",        U"just",   U"too",     U"very",    U"all",      U"any",
      U"both",    U"each",       U"few",    U"more",    U"most",    U"other",    U"some",
      U"only",    U"own",        U"same",   U"no",      U"not",     U"s",        U"t",
      U"d",       U"ll",         U"m",      U"o",       U"re",      U"ve",       U"y",
      U"ain",     U"aren",       U"couldn", U"didn",    U"doesn",   U"don",      U"hadn",
      U"hasn",    U"haven",      U"isn",    U"ma",      U"mightn",  U"mustn",    U"needn",
      U"shan",    U"shouldn",    U"wasn",   U"weren",   U"won",     U"wouldn"};
  return words.contains(word);
}

}  // namespace dure::instructions
