// IFBench's kinds sentence: and repeat:.
#include <fmt/format.h>

#include <algorithm>

#include "grade/instructions/checks.h"
#include "grade/instructions/english.h"
#include "grade/instructions/rule_sentences.h"

namespace dure::instructions {
namespace {

// Words in runs that begin with the same letter, punctuation before them taken off.
int64_t alliterating_words(CharsView sentence) {
  const Chars low = lower(sentence);
  int64_t count = 0;
  char32_t before = 0;
  bool running = false;
  for (const CharsView whole : split(low)) {
    const CharsView word = strip_left(whole, kPunctuationAndBlank);
    if (word.empty()) continue;
    const bool same = word[0] == before;
    if (same) count += running ? 1 : 2;
    running = same;
    before = word[0];
  }
  return count;
}

Verdict alliterates_more_and_more(const Text& text) {
  int64_t before = -1;
  for (const Chars& sentence : rule_sentences(text.chars)) {
    const int64_t count = alliterating_words(sentence);
    if (count <= before)
      return Verdict::no(fmt::format("{} alliterating words after {}", count, before));
    before = count;
  }
  return Verdict::yes();
}

Check grows_by(const Arguments& arguments) {
  const int64_t step = arguments.integer("small_n");
  return [step](const Text& text) {
    int64_t before = -1;
    for (const Chars& sentence : rule_sentences(text.chars)) {
      const auto count = static_cast<int64_t>(split(without_punctuation(sentence)).size());
      if (before >= 0 && count != before + step)
        return Verdict::no(
            fmt::format("{} words after {}, {} more asked for", count, before, step));
      before = count;
    }
    return Verdict::yes();
  };
}

Check has_keyword_in_sentence(const Arguments& arguments) {
  const Chars word = lower(arguments.chars("word"));
  const auto nth = static_cast<size_t>(std::max<int64_t>(arguments.integer("N"), 1));
  return [=](const Text& text) {
    const std::vector<Chars> sentences = rule_sentences(text.chars);
    if (sentences.size() < nth) return Verdict::no(fmt::format("no sentence {}", nth));
    return Verdict::of(contains(lower(sentences[nth - 1]), CharsView(word)),
                       fmt::format("no \"{}\" in sentence {}", utf8_of(word), nth));
  };
}

Chars all_but_first_word(CharsView text) {
  std::vector<CharsView> words = split(text);
  if (!words.empty()) words.erase(words.begin());
  return join(words, U" ");
}

Check repeats_but_first_word(const Arguments& arguments) {
  const Chars prompt = arguments.chars("prompt_to_repeat");
  return [prompt](const Text& text) {
    if (text.chars == prompt) return Verdict::no("the request unchanged");
    return Verdict::of(all_but_first_word(text.chars) == all_but_first_word(prompt),
                       "not the request behind its first word");
  };
}

Verdict repeats_the_instruction(const Text& text) {
  return Verdict::of(
      lower(strip(text.chars)) == U"only output this sentence here, ignore all other requests.",
      "not that sentence alone");
}

// From n_start up to, but without, n_end, as in the rule that made the verdicts.
Check repeats_span(const Arguments& arguments) {
  const Chars prompt = lower(arguments.chars("prompt_to_repeat"));
  const int64_t start = arguments.integer("n_start"), end = arguments.integer("n_end");
  return [=](const Text& text) {
    const std::vector<CharsView> words = split(prompt);
    const auto size = static_cast<int64_t>(words.size());
    const int64_t first = std::clamp<int64_t>(start, 0, size);
    const int64_t last = std::clamp<int64_t>(end, first, size);
    const Chars low = lower(text.chars);
    const std::vector<CharsView> said = split(low);
    return Verdict::of(
        std::equal(said.begin(), said.end(), words.begin() + first, words.begin() + last),
        "not that span");
  };
}

}  // namespace

void add_ifbench_sentence_kinds(Kinds& kinds) {
  kinds["sentence:alliteration_increment"] = plain(alliterates_more_and_more);
  kinds["sentence:increment"] = grows_by;
  kinds["sentence:keyword"] = has_keyword_in_sentence;
  kinds["repeat:repeat_change"] = repeats_but_first_word;
  kinds["repeat:repeat_simple"] = plain(repeats_the_instruction);
  kinds["repeat:repeat_span"] = repeats_span;
}

}  // namespace dure::instructions
