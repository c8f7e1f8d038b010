// eval/needle.h: does a model find in a long text what was said once? A code is planted at a depth
// in held-out text of a given length, and asked for at the end.
//
// Owns the texts and what is counted. Not here: which suite asks for it (evaluate.h), tables
// (report_tables.h).
//
// A text of n tokens: held-out text, at `depth` of it the sentence "The code of NAME is 4821.", and
// at the end "The code of NAME is", behind which the code's digits are scored. Right: every digit
// is the likeliest token behind those before it, which is what a greedy answer says. Gain: how much
// likelier, in nats a digit, the digits are than behind the same text with another code planted;
// 0 is a model that reads nothing there, whatever it thinks of digits. By chance one code in ten
// thousand is right, a digit in ten.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/options.h"
#include "chat/chat_texts.h"
#include "model/weights.h"

namespace dure {

struct NeedleSuiteOptions {
  std::vector<int64_t> lengths;  // tokens; empty: not measured
  int64_t depths = 5;            // places, from the beginning to the end, both included
  int64_t needles_per_cell = 10;
  std::string language = "en";  // of the held-out text
  template <typename V>
  void visit(V& v) {
    v("lengths", lengths,
      "lengths in tokens of texts in which a code is planted and asked for (empty: none)");
    v("depths", depths, "places of the code, from the beginning to the end", between(2, 101));
    v("needles_per_cell", needles_per_cell, "texts for each length and depth", at_least(1));
    v("language", language, "of the held-out text around it");
  }
};

// Throws kInvalidArgument where a length has no room for a code and its question.
void check_needles(const NeedleSuiteOptions& options, const std::string& corpus,
                   const std::string& where);

struct NeedleText {
  std::vector<int32_t> ids;  // the last `code_tokens` are the code
  int64_t code_tokens = 0;
};
// `around`: text to fill with, repeated where it is too short. `planted` stands in the text,
// `asked` at its end. Checked: room for both.
struct NeedlePlace {
  int64_t length = 0;  // tokens in all
  double depth = 0;    // 0: at the beginning; 1: just before the question
  int64_t first = 0;   // token of `around` that the text begins with
};
NeedleText needle_text(const Tokenizer& tokenizer, const std::vector<int32_t>& around,
                       const NeedlePlace& place, const std::string& name,
                       const std::string& planted, const std::string& asked);

// A list of {"length", "depth", "right", "total", "digits_right", "digits", "gain_nats"}, length by
// length.
Json find_needles(const NeedleSuiteOptions& options, const std::string& corpus, uint64_t seed,
                  const std::string& subject, const ModelWeights& weights, const ChatTexts& texts,
                  Stream& stream);

}  // namespace dure
