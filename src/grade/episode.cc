// One question and its answer, as the shortest of episodes.
#include "grade/episode.h"

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
  Grade finish() override { return grader_.grade(item_, answer_); }
  const Json& tools() const override { return item_.tools; }

 private:
  const Item& item_;
  const Grader& grader_;
  Answer answer_{.finished = false};  // what is graded where none came
};

class SingleTurns : public Environment {
 public:
  explicit SingleTurns(std::unique_ptr<Grader> grader) : grader_(std::move(grader)) {}
  std::unique_ptr<Episode> begin(const Item& item) const override {
    return std::make_unique<SingleTurn>(item, *grader_);
  }
  void check(const Item& item) const override { grader_->check(item); }

 private:
  std::unique_ptr<Grader> grader_;
};

}  // namespace

std::unique_ptr<Environment> single_turn(std::unique_ptr<Grader> grader) {
  return std::make_unique<SingleTurns>(std::move(grader));
}

}  // namespace dure
