// grade/environment_protocol.h: what is said to an environment of one's own and what it says: one
// JSON object a line.
//
// Owns the forms of `start`, `reply` and `finish` (docs/environments.md); how a reply's id is read,
// and what `finish` replies, is a verifier's (verifier_protocol.h). Not here: processes
// (workers.h), episodes (program_environment.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "grade/episode.h"
#include "grade/verifier_protocol.h"

namespace dure {

// Lines without a line break. Any bytes: what is no UTF-8 becomes U+FFFD.
std::string start_request(const std::string& id, const std::string& episode, const Item& item,
                          const EpisodeSeed& seed);
std::string reply_request(const std::string& id, const std::string& episode, int64_t turn,
                          const Answer& answer);
std::string finish_request(const std::string& id, const std::string& episode, EpisodeEnd end);

struct EnvironmentReply {
  VerifierFailure failure = VerifierFailure::kNone;
  std::string what;    // of a failure, for a person
  bool stale = false;  // a second reply to an earlier request: to be ignored
  std::vector<Message> messages;
  Json tools;  // of start: a list, or null
  bool over = false;
};
// `asked`: as read_verifier_reply(). Never throw.
EnvironmentReply read_start_reply(std::string_view line, int64_t asked, const Item& item);
EnvironmentReply read_turn_reply(std::string_view line, int64_t asked);

}  // namespace dure
