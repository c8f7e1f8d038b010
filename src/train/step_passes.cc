// The schedule of this rank's stage, carried out.
#include "train/step_passes.h"

#include "base/check.h"

namespace dure {
namespace {

class StepRun {
 public:
  StepRun(std::span<const StepPass> passes, const PassHooks& hooks, Learner& learner)
      : passes_(passes),
        hooks_(hooks),
        learner_(learner),
        link_(learner.link()),
        part_(learner.parts().first) {}

  void run() {
    for (const StageWork& work : training_schedule(link_.place(), std::ssize(passes_))) {
      if (passes_[static_cast<size_t>(work.pass)].input.ids.empty()) {
        take_idle(work);
      } else {
        take(work);
      }
    }
    const PartRange parts = learner_.parts();
    go_to_part(parts.first + parts.count - 1);
  }

 private:
  TrainPass& pass() { return learner_.pass(); }
  int64_t place_of(int64_t pass) const { return pass % link_.place().in_flight(); }

  // Next to nothing: others' rows alone.
  void take_idle(const StageWork& work) {
    learner_.take_place(place_of(work.pass));
    if (work.action == StageAction::kForward) learner_.idle_forward();
    if (work.action != StageAction::kBackward) return;
    go_to_part(passes_[static_cast<size_t>(work.pass)].part);
    learner_.idle_backward(which(work.pass));
  }

  void take(const StageWork& work) {
    const auto i = static_cast<size_t>(work.pass);
    switch (work.action) {
      case StageAction::kReceiveRows:
        begin(work.pass);
        return link_.receive_rows(pass(), hooks_.mtp);
      case StageAction::kForward:
        if (link_.place().is_first()) begin(work.pass);
        return pass().run(learner_.stream());
      case StageAction::kSendRows:
        return link_.send_rows(pass(), hooks_.mtp);
      case StageAction::kReceiveGradient:
        learner_.select_pass(place_of(work.pass));
        balance_ = link_.receive_gradient(pass(), hooks_.mtp);
        return;
      case StageAction::kBackward:
        go_to_part(passes_[i].part);
        return backward(i);
      case StageAction::kSendGradient:
        return link_.send_gradient(pass(), balance_, hooks_.mtp);
    }
  }

  void begin(int64_t i) { learner_.begin_pass(passes_[static_cast<size_t>(i)].input, place_of(i)); }

  void backward(size_t i) {
    LossOptions options = hooks_.options(i);
    DURE_CHECK((options.mtp_coefficient != 0) == hooks_.mtp, "pass {}", i);
    options.balance_before = link_.place().is_last() ? 0 : balance_;
    const LossResult& result = learner_.backward(options, which(static_cast<int64_t>(i)));
    balance_ = result.balance_loss;
    LossResult own = result;
    if (!link_.place().is_first()) own.balance_loss = 0;
    hooks_.done(i, own);
  }

  // Where no pass is in the last part, gradients are complete when all is done.
  Backward which(int64_t pass) const {
    const PartRange parts = learner_.parts();
    const bool last = pass + 1 == std::ssize(passes_) && part_ + 1 == parts.first + parts.count;
    return last ? Backward::kLast : Backward::kMoreToCome;
  }

  void go_to_part(int64_t part) {
    for (; part_ < part; ++part_) learner_.next_part();
  }

  std::span<const StepPass> passes_;
  const PassHooks& hooks_;
  Learner& learner_;
  StageLink& link_;
  int64_t part_;
  double balance_ = 0;  // of the layers behind, then with this stage's
};

}  // namespace

void run_passes(std::span<const StepPass> passes, const PassHooks& hooks, Learner& learner) {
  StepRun(passes, hooks, learner).run();
}

bool forward_through(const TrainInput& input, Learner& learner) {
  return forward_through(learner.weights(), input, learner);
}

bool forward_through(const ModelWeights& weights, const TrainInput& input, Learner& learner) {
  StageLink& link = learner.link();
  TrainPass& pass = learner.pass();
  learner.take_place(0);
  pass.begin(weights, input);
  link.receive_rows(pass, /*mtp=*/false);
  pass.run(learner.stream());
  link.send_rows(pass, /*mtp=*/false);
  return link.place().is_last();
}

}  // namespace dure
