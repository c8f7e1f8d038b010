// server/answer_format.h: how one API writes an answer, as a stream of events or whole: strings in
// the order they are sent. Free of sockets and of the engine.
//
// One format serves one request. The runner (answering.h) calls begin(), add() as text comes,
// end_choice() once a choice, end() once; or fail(), after which nothing comes. A format that is
// not streamed returns all of it from end(). Not here: which API has which (openai_answer.h, ...).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/sampler.h"
#include "server/api_error.h"
#include "text/output_parser.h"
#include "text/tokenizer.h"

namespace dure {

// A token as it was drawn; kept only where log-probabilities are asked for.
struct TokenRecord {
  int32_t token = 0;
  float log_probability = 0;
  std::vector<TokenLogProbability> top;
};

enum class AnswerEnd { kStop, kLength, kToolCalls };

struct ChoiceEnd {
  AnswerEnd reason = AnswerEnd::kStop;
  std::optional<std::string> stop_string;  // of the request's own, where one ended the answer
  std::optional<int32_t> stop_token;
};

struct AnswerTotals {
  int64_t prompt_tokens = 0, completion_tokens = 0, reasoning_tokens = 0;
  int64_t cached_tokens = 0;               // of the prompt
  int64_t drafted = 0, accepted = 0;       // tokens guessed ahead, and those that stood
  double prompt_ms = 0, predicted_ms = 0;  // to the first token; from it to the last
};

// What a format may say about itself and the answer.
struct AnswerHead {
  std::string id;
  int64_t created_s = 0;
  std::string model;
  int64_t choice_count = 1;
  std::string reasoning_field = "reasoning_content";  // of a chat's messages and deltas
  bool include_usage = false, continuous_usage = false;
  bool logprobs = false;
  int64_t top_logprobs = 0;
  const Tokenizer* tokenizer = nullptr;  // must outlive the format
};

struct AnswerPart {
  int64_t choice = 0;
  OutputDelta delta;
  std::span<const TokenRecord> tokens;  // since the last part
};

class AnswerFormat {
 public:
  virtual ~AnswerFormat() = default;
  virtual bool streams() const = 0;
  virtual std::string begin() { return ""; }
  virtual std::string add(const AnswerPart& part, const AnswerTotals& so_far) = 0;
  virtual std::string end_choice(const AnswerPart& last, const ChoiceEnd& end) = 0;
  virtual std::string end(const AnswerTotals& totals) = 0;
  virtual std::string fail(const ApiError& error) = 0;  // after begin()
  virtual std::string ping() { return streams() ? ": ping\n\n" : " "; }
};

// The calls of a delta as pieces, the complete ones as one each.
std::vector<CallPiece> pieces_of(const OutputDelta& delta);

// One event of a stream: "data: ...".
std::string sse_event(const std::string& data);
std::string sse_event(const char* name, const std::string& data);
// "chatcmpl-" and the like, and 24 random digits.
std::string fresh_id(const char* prefix);

}  // namespace dure
