// grade/verifier_protocol.h: what is said to a verifier and what it says: one JSON object a line.
//
// Owns the two forms (docs/verifiers.md) and the names of what can go wrong. Not here: processes
// (verifier_process.h), servers and workers (verifier.h).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "grade/grader.h"

namespace dure {

// Why an answer has no reward; the names are those of metrics and of Grade::failure.
enum class VerifierFailure : uint8_t {
  kNone,
  kStart,    // "start": could not be started again
  kDied,     // "died": ended, or closed its output
  kTimeout,  // "timeout"
  kNotJson,  // "not_json": a line that is no JSON object
  kWrongId,  // "wrong_id": a reply to what was never asked
  kReward,   // "bad_reward": none, or no finite number
  kTooLong,  // "too_long": a line above kVerifierLineBytesMax
  kServer,   // "server": http: not reached, or a status that is not 2xx
  // Of environments (environment_protocol.h).
  kReply,        // "bad_reply": messages that are none
  kDiffers,      // "not_repeatable": told the same, it replied otherwise than before
  kInterrupted,  // "interrupted": Ctrl-C came while it was asked; never a grade's
};
const char* verifier_failure_name(VerifierFailure failure);
inline constexpr size_t kVerifierLineBytesMax = size_t{4} << 20;
inline constexpr size_t kVerifierTextBytesMax = 4096;  // of a reply's text that is kept

// {"id", "messages", "answer": {"reasoning", "content", "tool_calls", "finished"}, "item": {"id",
// "group", "tools", "reference", "fields"}} without a line break. Any bytes: what is no UTF-8
// becomes U+FFFD.
std::string verifier_request(const std::string& id, const Item& item, const Answer& answer);

// {"reasoning", "content", "tool_calls", "finished"}.
Json answer_json(const Answer& answer);

// The object of a line that replies to the request `asked`, or what is wrong with it.
struct ReplyHead {
  VerifierFailure failure = VerifierFailure::kNone;
  std::string what;
  bool stale = false;  // a second reply to an earlier request
  Json reply;
};
ReplyHead read_reply_head(std::string_view line, int64_t asked);

struct VerifierReply {
  VerifierFailure failure = VerifierFailure::kNone;
  std::string what;    // of a failure, for a person
  bool stale = false;  // a second reply to an earlier request: to be ignored
  double reward = 0;
  Json parts;        // an object of finite numbers, or null
  std::string text;  // cut to kVerifierTextBytesMax
};
// `asked`: the number of the request, whose id is that number as text; smaller numbers were asked
// before. Never throws.
VerifierReply read_verifier_reply(std::string_view line, int64_t asked);

}  // namespace dure
