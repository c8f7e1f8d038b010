// eval/local_answerer.h: a model opened here answers many questions together.
//
// Owns the engine's thread and the way from messages to ids and back. An answer's bits depend on
// the model, the question, its seed and its stream alone. Not here: batching (engine/), prompts
// (chat/conversation.h).
#pragma once

#include <memory>

#include "chat/open_model.h"
#include "chat/prompt_scorer.h"
#include "engine/engine_thread.h"
#include "eval/answerer.h"

namespace dure {

struct LocalAnswererOptions {
  int64_t concurrency = 32;       // answers decoded together
  int64_t context_tokens = 4096;  // prompt and answer; cut to the model's own
  DType kv_dtype = DType::kF32;
  Json identity;  // of the model's files and the arithmetic
  static constexpr int64_t kKvBytesMax = int64_t{8} << 30;  // fewer pages than that at once
};

class LocalAnswerer : public Answerer {
 public:
  // `model` and `stream` must outlive it. Throws what EngineThread throws; kNotFound where the
  // model brings no tokenizer.
  LocalAnswerer(const OpenModel& model, const LocalAnswererOptions& options, Stream& stream);

  Said answer(const Question& question) override;
  Said score(const Question& question, const std::vector<std::string>& continuations) override;
  Json identity() const override { return options_.identity; }
  void stop() override;

 private:
  const OpenModel& model_;
  LocalAnswererOptions options_;
  PromptScorer scorer_;
  EngineThread engine_;
};

// The tokens that such a model needs for these messages.
int64_t question_tokens(const OpenModel& model, const Question& question);

}  // namespace dure
