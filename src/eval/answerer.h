// eval/answerer.h: who answers a benchmark's questions: a model opened here, or a server behind an
// address.
//
// Owns the question and what comes back. Many threads ask at the same time, each waits for its own
// answer; what an answer is depends on its question alone, not on the others (a local model's to
// the bit). Not here: the two kinds (local_answerer.h, remote_answerer.h), which questions there
// are (measure.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "grade/grader.h"
#include "suite/task_spec.h"

namespace dure {

struct Question {
  const std::vector<Message>& messages;
  const Json& tools;
  const AskSettings& settings;
  PromptForm form = PromptForm::kChat;
  const std::vector<std::string>& stop;
  int64_t new_tokens_max = 0;
  uint64_t seed = 0, stream = 0;  // of its random numbers
};

enum class SaidEnd : uint8_t { kStop, kLength, kTooLong };
constexpr auto enum_names(SaidEnd) {
  return std::to_array<EnumName<SaidEnd>>(
      {{SaidEnd::kStop, "stop"}, {SaidEnd::kLength, "length"}, {SaidEnd::kTooLong, "too_long"}});
}

struct Said {
  Answer answer;
  SaidEnd end = SaidEnd::kStop;  // kTooLong: the question leaves no room for an answer
  int64_t prompt_tokens = 0, tokens = 0;
  double seconds = 0;
};

class Answerer {
 public:
  virtual ~Answerer() = default;
  // Throws kInterrupted once stop() was called; what the world does to it.
  virtual Said answer(const Question& question) = 0;
  // The log-likelihood of each continuation behind the messages' texts.
  virtual Said score(const Question& question, const std::vector<std::string>& continuations) = 0;
  // What the answers depend on beside the question: the same model has the same identity.
  virtual Json identity() const = 0;
  // Calls that wait end soon.
  virtual void stop() = 0;
};

// The messages' texts, as a plain prompt has them.
std::string plain_prompt(const std::vector<Message>& messages);

}  // namespace dure
