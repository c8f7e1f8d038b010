// Weights of the responses, then share after share: forward, coefficients, backward, update.
#include "rl/rl_step.h"

#include <algorithm>

#include "train/step_passes.h"

namespace dure {

// The places of dropped answers stay, with nothing in them.
ResponseWeights weigh_rollouts(const ObjectiveOptions& objective,
                               const std::vector<Rollout>& rollouts) {
  std::vector<int64_t> groups, counts;
  std::vector<double> rewards;
  std::vector<size_t> places;
  for (size_t i = 0; i < rollouts.size(); ++i) {
    const Rollout& r = rollouts[i];
    if (r.dropped) continue;
    places.push_back(i);
    groups.push_back(r.group);
    rewards.push_back(r.reward);
    counts.push_back(answer_length(r));
  }
  ResponseWeights kept = weigh_responses(objective, groups, rewards, counts);
  if (places.size() == rollouts.size()) return kept;
  ResponseWeights out = kept;
  out.live.assign(rollouts.size(), 0);
  out.advantages.assign(rollouts.size(), 0);
  out.scales.assign(rollouts.size(), 0);
  for (size_t k = 0; k < places.size(); ++k) {
    out.live[places[k]] = kept.live[k];
    out.advantages[places[k]] = kept.advantages[k];
    out.scales[places[k]] = kept.scales[k];
  }
  return out;
}

namespace {

// The groups of share k of `shares` equal ones.
ResponseRange range_of_share(const std::vector<Rollout>& rollouts, int64_t k, int64_t shares) {
  const int64_t groups = rollouts.back().group + 1;
  const auto bound = [&](int64_t share) {
    const auto first = std::ranges::lower_bound(rollouts, groups * share / shares, {},
                                                [](const Rollout& r) { return r.group; });
    return static_cast<size_t>(first - rollouts.begin());
  };
  return {bound(k), bound(k + 1)};
}

// What the answers of a part come to.
struct PartSums {
  double loss = 0, entropy = 0, reference_kl = 0;
  ObjectiveStats objective;
};

// One update's gradients: this rank's parts of its batches, then what those of all ranks came to.
class Accumulation {
 public:
  // share_count: updates that the step has.
  Accumulation(const std::vector<Rollout>& rollouts, const RlStepOptions& options,
               const ResponseWeights& responses, int64_t share_count, Learner& learner)
      : rollouts_(rollouts),
        options_(options),
        responses_(responses),
        share_count_(static_cast<double>(share_count)),
        learner_(learner) {}

  void add(const std::vector<ResponseBatch>& batches, RlLearnt& learnt) {
    const PartRange mine = learner_.parts();
    take_passes(batches, mine);
    reference_ = reference_rows();
    sums_.assign(static_cast<size_t>(mine.count), {});
    const auto weigh_pass = [&](size_t i) -> LossOptions {
      if (!learner_.link().place().is_last()) return {};
      weigh(i, sums_[static_cast<size_t>(passes_[i].part - mine.first)]);
      return {.row_coefficients = coefficients_};
    };
    run_passes(passes_, {.options = weigh_pass, .done = [](size_t, const LossResult&) {}},
               learner_);
    take_sums(learnt);
  }

 private:
  void take_passes(const std::vector<ResponseBatch>& batches, const PartRange& mine) {
    passes_.clear();
    batch_of_.clear();
    for (int64_t p = mine.first; p < mine.first + mine.count; ++p) {
      const ItemRange range = items_of_part(std::ssize(batches), p, learner_.part_count());
      const int64_t count =
          std::max(learner_.passes_in_part(std::ssize(batches), p), range.end - range.begin);
      for (int64_t i = range.begin; i < range.begin + count; ++i) {
        batch_of_.push_back(i < range.end ? &batches[static_cast<size_t>(i)] : nullptr);
        passes_.push_back(
            {batch_of_.back() != nullptr ? batch_of_.back()->input() : TrainInput{}, p});
      }
    }
  }

  // Of each pass its rows' log-probabilities under the model that the run began with; empty where
  // nothing asks, or another rank has them.
  std::vector<std::vector<float>> reference_rows() const {
    std::vector<std::vector<float>> out(passes_.size());
    if (options_.kl.beta == 0) return out;
    TrainPass& pass = learner_.pass();
    for (size_t i = 0; i < passes_.size(); ++i) {
      if (batch_of_[i] == nullptr) {
        learner_.idle_forward(*options_.reference);
      } else if (forward_through(*options_.reference, passes_[i].input, learner_)) {
        pass.token_log_probabilities(/*want_entropy=*/false, learner_.stream());
        const std::span<const float> rows = pass.log_probability();
        out[i].assign(rows.begin(), rows.end());
      }
    }
    return out;
  }

  // After the pass's forward, where the head is.
  void weigh(size_t i, PartSums& part) {
    learner_.pass().token_log_probabilities(/*want_entropy=*/true, learner_.stream());
    const ResponseBatch& batch = *batch_of_[i];
    coefficients_.assign(batch.ids.size(), 0.0f);
    for (size_t m = 0; m < batch.members.size(); ++m)
      weigh_answer(batch.members[m], static_cast<size_t>(batch.answer_rows[m]), reference_[i],
                   part);
  }

  void weigh_answer(size_t member, size_t row, std::span<const float> reference, PartSums& part) {
    const TrainPass& pass = learner_.pass();
    const Rollout& rollout = rollouts_[member];
    const size_t count = rollout.generation.tokens.size();
    const double scale = responses_.scales[member] * share_count_;
    const auto now = of_answers(rollout, pass.log_probability().subspan(row, count));
    const auto drawn = of_answers(rollout, rollout.generation.log_probabilities);
    std::vector<float> gradient(now.size());
    part.loss += response_loss<float>(options_.objective, responses_.advantages[member], scale, now,
                                      drawn, gradient, &part.objective);
    if (!reference.empty()) {
      const auto then = of_answers(rollout, reference.subspan(row, count));
      part.loss += kl_loss<float>(options_.kl, scale, now, then, gradient, part.reference_kl);
    }
    to_answers(rollout, gradient, std::span(coefficients_).subspan(row, count));
    for (const float h : of_answers(rollout, pass.entropy().subspan(row, count))) part.entropy += h;
  }

  // Numbers that a part comes to; all are 0 where another stage has the head.
  static constexpr int64_t kSums = 6;

  void take_sums(RlLearnt& learnt) const {
    std::vector<double> own;
    double mismatch_max = 0;
    for (const PartSums& part : sums_) {
      const ObjectiveStats& o = part.objective;
      own.insert(own.end(), {part.loss, part.entropy, o.kl_sum, static_cast<double>(o.token_count),
                             static_cast<double>(o.clipped_count), part.reference_kl});
      mismatch_max = std::max(mismatch_max, o.mismatch_max);
    }
    std::vector<double> sums = sum_over_parts(own, kSums, learner_.part_count(), learner_.group());
    learner_.link().pipeline().all_reduce(std::span(sums), "losses of the stages");
    learnt.loss += sums[0];
    learnt.entropy_sum += sums[1];
    learnt.objective.kl_sum += sums[2];
    learnt.objective.token_count += static_cast<int64_t>(sums[3]);
    learnt.objective.clipped_count += static_cast<int64_t>(sums[4]);
    learnt.reference_kl_sum += sums[5];
    Group& world = learner_.mesh().world();
    std::vector<double> all(static_cast<size_t>(world.size()));
    const std::vector<int64_t> one(all.size(), 1);
    world.all_gather(std::span<const double>(&mismatch_max, 1), one, std::span(all), "mismatch");
    for (const double one_rank : all)
      learnt.objective.mismatch_max = std::max(learnt.objective.mismatch_max, one_rank);
  }

  const std::vector<Rollout>& rollouts_;
  const RlStepOptions& options_;
  const ResponseWeights& responses_;
  double share_count_;
  Learner& learner_;
  std::vector<StepPass> passes_;
  std::vector<const ResponseBatch*> batch_of_;  // of each pass; null: idle
  std::vector<std::vector<float>> reference_;   // of each pass
  std::vector<PartSums> sums_;                  // of each of this rank's parts
  std::vector<float> coefficients_;             // of the batch at hand
};

}  // namespace

LearnerOptions rl_learner_options(const OptimiserOptions& optimiser, int64_t rows_max) {
  return {
      .optimiser = optimiser, .pass = {.rows_max = rows_max, .mtp = false}, .train_router = false};
}

RlLearnt learn_from_rollouts(const std::vector<Rollout>& rollouts, const RlStepOptions& options,
                             const StepContext& context, Learner& learner) {
  RlLearnt learnt{.responses = weigh_rollouts(options.objective, rollouts)};
  if (rollouts.empty()) return learnt;
  const int64_t shares = std::min(options.updates, rollouts.back().group + 1);
  Accumulation accumulation(rollouts, options, learnt.responses, shares, learner);
  for (int64_t share = 0; share < shares; ++share) {
    const auto batches = response_batches(
        rollouts, learnt.responses, range_of_share(rollouts, share, shares), options.rows_max);
    if (batches.empty())
      continue;  // Every group was all right or all wrong: nothing to learn from.
    accumulation.add(batches, learnt);
    require_finite(learnt.loss, "the loss", context.where);
    learnt.updates.update(learner, context);
  }
  return learnt;
}

}  // namespace dure
