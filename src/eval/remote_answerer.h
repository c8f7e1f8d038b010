// eval/remote_answerer.h: a server of OpenAI's API answers: chat completions, completions of plain
// prompts, log-likelihoods by echo.
//
// Owns the fields that are sent and read, and asking again: an answer 429 or 5xx, or a connection
// that fails, is tried again after a pause that grows, or that the server asks for (Retry-After, at
// most kRetryAfterMax); the first of each kind is told. Not here: the connection
// (client/http_client.h).
#pragma once

#include <atomic>
#include <mutex>
#include <set>

#include "client/openai_api.h"
#include "eval/answerer.h"

namespace dure {

struct RemoteAnswererOptions {
  std::string address;
  std::string model;       // empty: the first that the server names
  int64_t tries_max = 8;   // of one question
  double pause_s = 0.5;    // before the second try; doubled each time, at most a minute
  double answer_s = 1800;  // for one answer, from asking to its last byte; tried twice
  bool send_seed = true;
};

inline constexpr double kRetryAfterMax = 300;  // seconds

class RemoteAnswerer : public Answerer {
 public:
  // Asks the server which models it has. Throws as first_model().
  explicit RemoteAnswerer(const RemoteAnswererOptions& options);

  Said answer(const Question& question) override;
  // Throws kUnsupported, naming the server, where it does not tell the prompt's log-probabilities.
  Said score(const Question& question, const std::vector<std::string>& continuations) override;
  Json identity() const override;
  void stop() override { stopped_ = true; }

  const std::string& model() const { return model_; }
  // A conversation's answer at temperature 0 (a judge's, a simulated user's). `tools`: a list of
  // declarations, or null.
  Answer reply(const std::vector<Message>& messages, const Json& tools = {});

 private:
  Json ask(const char* path, const Json& body);
  Said ask_within_context(const char* path, Json body, bool chat);
  bool pause(int64_t tries, double asked_for_s) const;
  void tell_retry(const std::string& kind, const std::string& what);
  Json settings_json(const Question& question) const;

  RemoteAnswererOptions options_;
  HttpClient client_;
  std::string key_, model_;
  std::atomic<bool> stopped_ = false;
  std::mutex mutex_;
  std::set<std::string> told_;  // kinds of failures that were tried again
};

// What OpenAI's API calls messages: tool calls' arguments as text; reasoning left out. For tests.
Json api_messages(const std::vector<Message>& messages);

}  // namespace dure
