// eval/evaluate.h: what a model can do: bits per byte on held-out text, exact match on held-out
// problems.
//
// Owns the suite's options, the measurements and the results JSON (fields below). Not here:
// verdicts (grader.h), reports (report.h).
//
// Results: {"name", "model", "bits_per_byte": [{"language", "bytes", "tokens", "bits_per_byte",
// "xz_bits_per_byte"}],
//   "settings": [{"turns", "thinking", "right", "total", "mean_answer_tokens",
//   "unfinished_share"}],
//   "exact_match": [{"turns", "thinking", "task", "language", "right", "total"}],
//   "greedy_exact_match", "mean_answer_tokens", "unfinished_share" (of the first setting),
//   "too_long" (where prompts were), "samples": [{"turns", "thinking_on", "task", "language",
//   "earlier": [{"prompt", "answer"}], "prompt", "thinking", "content", "expected", "right",
//   "tokens", "finish" ("stop", "length"), "reasoning_closed"}],
//   "needle": [{"length", "depth", "right", "total", "digits_right", "digits", "gain_nats"}]}.
// A setting is a number of turns with thinking on or off; the first is the headline, and cells and
// samples stand setting by setting.
// Who measures adds what it was measured with: "measured", "shape", "suite" (docs/evaluation.md).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/options.h"
#include "chat/conversation.h"
#include "data/tasks/mixture.h"
#include "engine/sampler.h"
#include "eval/needle.h"
#include "eval/prompt_room.h"
#include "model/weights.h"

namespace dure {

struct TextSuiteOptions {
  std::string corpus;  // a prepared corpus folder (docs/data.md); empty: no text is scored
  // documents are scored in pieces of so many tokens, each from its own start
  int64_t context_tokens = 256;
  int64_t bytes_max = 0;  // per language; 0: all
  template <typename V>
  void visit(V& v) {
    v("corpus", corpus, "prepared corpus whose held-out documents are scored; empty: none");
    v("context_tokens", context_tokens, "tokens seen at once", at_least(2));
    v("bytes_max", bytes_max, "bytes scored per language (0: all)", at_least(0));
  }
};

struct TaskSuiteOptions {
  int64_t problems_per_cell = 20;  // a cell is a task in a language; 0: no problems
  // each with each: the first of both is the headline, and alone answered greedily too
  std::vector<int64_t> turns = {1};
  std::vector<Thinking> thinking = {Thinking::kOn};
  int64_t new_tokens_max = 160;
  int64_t sequences_max = 64;
  int64_t context_tokens_max = 0;
  TooLong long_prompts = TooLong::kRefuse;
  bool greedy = true;                                           // also answer each problem greedily
  int64_t sample_count = 12;                                    // answers kept for the report
  SamplingOptions sampling{.temperature = 1.0, .top_p = 0.95};  // the family's own settings
  TaskMixture mixture;
  template <typename V>
  void visit(V& v) {
    v("problems_per_cell", problems_per_cell,
      "held-out problems for each task and language (0: none)", at_least(0));
    v("turns", turns,
      "questions of a conversation whose last is measured, the earlier ones rightly answered; the "
      "first of the list is the headline");
    v("thinking", thinking,
      "answers with reasoning first (on), at once (off); the first of the list is the headline");
    v("new_tokens_max", new_tokens_max, "longest answer", at_least(1));
    v("sequences_max", sequences_max, "answers decoded together", at_least(1));
    v("context_tokens_max", context_tokens_max,
      "tokens of a prompt and its answer (0: as many as the problems need, within the model's own "
      "context)",
      at_least(0));
    v("long_prompts", long_prompts,
      "a prompt that leaves no room for an answer: leave its problem out, keep its last tokens, or "
      "refuse before anything is measured");
    v("greedy", greedy, "also measure greedy answers, of the headline");
    v("sample_count", sample_count,
      "answers kept for the report, a quarter of them of each further setting", at_least(0));
    v("sampling", sampling, "how answers are drawn");
    v("mixture", mixture, "tasks, difficulty, languages");
  }
};

struct EvalSuite {
  int64_t seed = 1;
  TextSuiteOptions text;
  TaskSuiteOptions tasks;
  NeedleSuiteOptions needle;
  template <typename V>
  void visit(V& v) {
    v("seed", seed, "of the problems and of sampling");
    v("text", text, "bits per byte");
    v("tasks", tasks, "exact match");
    v("needle", needle, "a code planted in text of growing length");
  }
};

struct EvalSubject {
  std::string name;   // "base", "sft", "rl"
  std::string model;  // where it came from
  const ModelWeights& weights;
  const ChatTexts& texts;
  DType kv_dtype = DType::kF32;  // of answers; texts are scored with F32
};

// Throws kInvalidArgument where the suite measures nothing or names a setting that is none. `where`
// names it.
void check_suite(const EvalSuite& suite, const std::string& where);

// The results JSON. Shows progress. Throws kInterrupted on Ctrl-C (nothing is saved), and whatever
// the suite gets wrong.
Json evaluate(const EvalSuite& suite, const EvalSubject& subject, Stream& stream);

}  // namespace dure
