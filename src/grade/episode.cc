// One question and its answer, as the shortest of episodes.
#include "grade/episode.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"

namespace dure {
namespace {

class SingleTurn : public Episode {
 public:
  SingleTurn(const Item& item, const Grader& grader) : item_(item), grader_(grader) {}
  EpisodeTurn start() override { return {.messages = item_.messages}; }
  EpisodeTurn reply(const Answer& answer) override {
    answer_ = answer;
    return {.messages = {}, .over = true};
  }
  Grade finish(EpisodeEnd) override { return grader_.grade(item_, answer_); }
  const Json& tools() const override { return item_.tools; }

 private:
  const Item& item_;
  const Grader& grader_;
  Answer answer_{.finished = false};  // what is graded where none came
};

class SingleTurns : public Environment {
 public:
  explicit SingleTurns(std::unique_ptr<Grader> grader) : grader_(std::move(grader)) {}
  std::unique_ptr<Episode> begin(const Item& item, const EpisodeSeed&) const override {
    return std::make_unique<SingleTurn>(item, *grader_);
  }
  void check(const Item& item) const override { grader_->check(item); }

 private:
  std::unique_ptr<Grader> grader_;
};

}  // namespace

void Episode::refuse(const std::string& why) { fail(ErrorCode::kInvalidArgument, "{}", why); }

uint64_t episode_seed(uint64_t seed, const Item& item, uint64_t draw) {
  // Numbers of JSON below it are read alike everywhere.
  constexpr uint64_t kExact = uint64_t{1} << 53;
  return xxh64(item.id, stream_id("episode", seed, draw)) % kExact;
}

void name_calls(std::vector<ToolCall>& calls, int64_t turn) {
  for (size_t i = 0; i < calls.size(); ++i) {
    if (calls[i].id.empty()) calls[i].id = fmt::format("call_{}_{}", turn, i);
  }
}

Message spoken(const Answer& answer) {
  return {.role = Role::kAssistant,
          .content = answer.content,
          .reasoning = answer.reasoning,
          .tool_calls = answer.tool_calls};
}

std::unique_ptr<Environment> single_turn(std::unique_ptr<Grader> grader) {
  return std::make_unique<SingleTurns>(std::move(grader));
}

}  // namespace dure
