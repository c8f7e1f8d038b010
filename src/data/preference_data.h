// data/preference_data.h: files of preferences as tokens: what is compared, split into a part to
// learn from and a part to measure on.
//
// Owns the fields of `data:` of a preference run, and what becomes of rows that are bad, too long
// or say nothing. All of it is held in memory as tokens. Not here: the forms of a row
// (preference_record.h), the chat format (sft.h), losses and the order of draws (rl/).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/options.h"
#include "data/records.h"
#include "data/sft.h"
#include "data/too_long.h"

namespace dure {

struct PreferenceFile {
  std::string path;
  double weight = 1;
  template <typename V>
  void visit(V& v) {
    v("path", path, "JSONL file (also .gz, .zst), or a .json list");
    v("weight", weight, "share of what is drawn, relative to the other files", above(0));
  }
};

struct PreferenceDataOptions {
  std::vector<PreferenceFile> files;
  double heldout_fraction = 0.05;
  int64_t max_length = 0;
  TooLong too_long = TooLong::kDrop;
  WithoutReasoning without_reasoning = WithoutReasoning::kOff;
  BadRows bad_rows = BadRows::kRefuse;
  template <typename V>
  void visit(V& v) {
    v("files", files, "what is learnt from: [{path, weight}]");
    v("heldout_fraction", heldout_fraction,
      "share of the prompts that is measured on and never learnt from", between(0, 0.9));
    v("max_length", max_length, "tokens of a prompt with a response (0: the model's own context)",
      at_least(0));
    v("too_long", too_long, "what is longer: left out, cut at its end, or an error");
    v("without_reasoning", without_reasoning,
      "what responses without reasoning follow: the prompt of thinking off, or on");
    v("bad_rows", bad_rows, "a row that cannot be used: an error, or left out and counted");
  }
};

// What is compared at once, whatever form the rows have.
enum class PreferenceShape : uint8_t {
  kPairs,   // the best and the worst response; a label is refused
  kGroups,  // all responses with their rewards; a pair has rewards 1 and 0, a label is refused
  kLabels,  // single responses: the best (reward 1) and the worst (0) of a pair or group
};

struct PreferenceItem {
  // Each: prompt and response; trained tokens are the response's, at least one. kPairs: chosen,
  // rejected. kLabels: one.
  std::vector<TokenDocument> responses;
  std::vector<double> rewards;  // of each
  // kLabels: this prompt with the response to another one; empty where the file has no other
  // prompt.
  TokenDocument mismatched;
};

struct PreferenceSet {
  std::vector<std::vector<PreferenceItem>> files;  // to learn from, by file
  std::vector<PreferenceItem> heldout;             // of all files
  int64_t count() const;                           // to learn from
};

// A prompt is on one side whatever else is in the files, and in whatever order. Groups of equal
// rewards are left out and counted. `length_max`: of a document, in tokens. Throws kInvalidArgument
// or kCorrupt naming FILE:LINE, the field and what to do; where a file has nothing to learn from;
// and what files get wrong.
PreferenceSet load_preferences(const PreferenceDataOptions& options, PreferenceShape shape,
                               int64_t length_max, const TrainingFormat& format);

}  // namespace dure
