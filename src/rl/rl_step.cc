// Weights of the responses, then share after share: forward, coefficients, backward, update.
#include "rl/rl_step.h"

#include <algorithm>

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

// What a batch's backward needs beside the batch.
struct Accumulation {
  const std::vector<Rollout>& rollouts;
  const RlStepOptions& options;
  double share_count = 1;
  Learner& learner;
  Stream& stream;

  // Of the rows of a batch, under the model that the run began with; empty where nothing asks.
  std::vector<float> reference_rows(const ResponseBatch& batch) const {
    if (options.kl.beta == 0) return {};
    TrainPass& pass = learner.pass();
    pass.forward(*options.reference, batch.input(), stream);
    pass.token_log_probabilities(/*want_entropy=*/false, stream);
    const std::span<const float> rows = pass.log_probability();
    return {rows.begin(), rows.end()};
  }

  void add(const ResponseBatch& batch, RlLearnt& learnt) const {
    TrainPass& pass = learner.pass();
    const std::vector<float> reference = reference_rows(batch);
    pass.forward(learner.weights(), batch.input(), stream);
    pass.token_log_probabilities(/*want_entropy=*/true, stream);
    std::vector<float> coefficients(batch.ids.size(), 0.0f);
    for (size_t m = 0; m < batch.members.size(); ++m) {
      const size_t member = batch.members[m];
      const Rollout& rollout = rollouts[member];
      const size_t row = static_cast<size_t>(batch.answer_rows[m]);
      const size_t count = rollout.generation.tokens.size();
      const double scale = learnt.responses.scales[member] * share_count;
      const auto now = of_answers(rollout, pass.log_probability().subspan(row, count));
      const auto drawn = of_answers(rollout, rollout.generation.log_probabilities);
      std::vector<float> gradient(now.size());
      learnt.loss += response_loss<float>(options.objective, learnt.responses.advantages[member],
                                          scale, now, drawn, gradient, &learnt.objective);
      if (!reference.empty()) {
        const auto then = of_answers(rollout, std::span(reference).subspan(row, count));
        learnt.loss +=
            kl_loss<float>(options.kl, scale, now, then, gradient, learnt.reference_kl_sum);
      }
      to_answers(rollout, gradient, std::span(coefficients).subspan(row, count));
      for (const float h : of_answers(rollout, pass.entropy().subspan(row, count)))
        learnt.entropy_sum += h;
    }
    learner.backward({.row_coefficients = coefficients});
  }

  // In place of add().
  void idle() const {
    if (options.kl.beta > 0) learner.idle_forward(*options.reference);
    learner.idle_forward();
    learner.idle_backward();
  }

  // This rank's parts of the batches, then what those of all ranks came to.
  void add_parts(const std::vector<ResponseBatch>& batches, RlLearnt& learnt) const {
    const PartRange mine = learner.parts();
    const int64_t count = learner.part_count();
    std::vector<double> came_to;  // of each part kSums
    double mismatch_max = 0;
    for (int64_t p = mine.first; p < mine.first + mine.count; ++p) {
      if (p > mine.first) learner.next_part();
      RlLearnt part{.responses = learnt.responses};
      const ItemRange range = items_of_part(std::ssize(batches), p, count);
      for (int64_t i = range.begin; i < range.end; ++i) add(batches[static_cast<size_t>(i)], part);
      const int64_t passes = learner.passes_in_part(std::ssize(batches), p);
      for (int64_t i = range.end - range.begin; i < passes; ++i) idle();
      const ObjectiveStats& o = part.objective;
      came_to.insert(came_to.end(),
                     {part.loss, part.entropy_sum, o.kl_sum, static_cast<double>(o.token_count),
                      static_cast<double>(o.clipped_count), part.reference_kl_sum});
      mismatch_max = std::max(mismatch_max, o.mismatch_max);
    }
    take_sums(sum_over_parts(came_to, kSums, count, learner.group()), mismatch_max, learnt);
  }

  static constexpr int64_t kSums = 6;  // that a part comes to

  // sums: [kSums], of all parts.
  void take_sums(const std::vector<double>& sums, double mismatch_max, RlLearnt& learnt) const {
    Group& group = learner.group();
    std::vector<double> all(static_cast<size_t>(group.size()));
    const std::vector<int64_t> one(all.size(), 1);
    group.all_gather(std::span<const double>(&mismatch_max, 1), one, std::span(all), "mismatch");
    learnt.loss += sums[0];
    learnt.entropy_sum += sums[1];
    learnt.objective.kl_sum += sums[2];
    learnt.objective.token_count += static_cast<int64_t>(sums[3]);
    learnt.objective.clipped_count += static_cast<int64_t>(sums[4]);
    learnt.reference_kl_sum += sums[5];
    for (const double one_rank : all)
      learnt.objective.mismatch_max = std::max(learnt.objective.mismatch_max, one_rank);
  }
};

}  // namespace

LearnerOptions rl_learner_options(const OptimiserOptions& optimiser, int64_t rows_max) {
  return {
      .optimiser = optimiser, .pass = {.rows_max = rows_max, .mtp = false}, .train_router = false};
}

RlLearnt learn_from_rollouts(const std::vector<Rollout>& rollouts, const RlStepOptions& options,
                             const StepContext& context, Learner& learner, Stream& stream) {
  RlLearnt learnt{.responses = weigh_rollouts(options.objective, rollouts)};
  if (rollouts.empty()) return learnt;
  const int64_t shares = std::min(options.updates, rollouts.back().group + 1);
  const Accumulation accumulation{rollouts, options, static_cast<double>(shares), learner, stream};
  for (int64_t share = 0; share < shares; ++share) {
    const auto batches = response_batches(
        rollouts, learnt.responses, range_of_share(rollouts, share, shares), options.rows_max);
    if (batches.empty())
      continue;  // Every group was all right or all wrong: nothing to learn from.
    if (learner.part_count() == 1) {
      for (const ResponseBatch& batch : batches) accumulation.add(batch, learnt);
    } else {
      accumulation.add_parts(batches, learnt);
    }
    require_finite(learnt.loss, "the loss", context.where);
    learnt.updates.update(learner, context);
  }
  return learnt;
}

}  // namespace dure
