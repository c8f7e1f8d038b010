// Counts of the whole step first, so that each micro-batch adds its share; then part by part, what
// the parts of all ranks come to, and the update.
#include "train/next_token_step.h"

#include <algorithm>
#include <array>
#include <vector>

#include "train/step_passes.h"
#include "train/train_data.h"

namespace dure {
namespace {

// Counts first, over the whole step: a micro-batch's gradient is then its share of the step's,
// however that is split.
LossOptions loss_options(std::span<const TrainBatch> batches,
                         const LossCoefficients& coefficients) {
  LossOptions options{.mtp_coefficient = coefficients.mtp,
                      .balance_coefficient = coefficients.balance};
  for (const TrainBatch& batch : batches) {
    const TargetCounts counts = count_targets(input_of(batch));
    options.valid_count += counts.valid;
    options.mtp_valid_count += counts.mtp_valid;
    options.document_count += std::ssize(batch.document_lengths);
  }
  return options;
}

// What the micro-batches of a part come to; numbers of a kind, so that they are summed alike.
enum PartSum : size_t { kLoss, kMtp, kBalance, kValid, kMtpValid, kPartSums };

void add(const LossResult& result, std::span<double> part) {
  part[kLoss] += result.loss_sum;
  part[kMtp] += result.mtp_loss_sum;
  part[kBalance] += result.balance_loss;
  part[kValid] += static_cast<double>(result.valid);
  part[kMtpValid] += static_cast<double>(result.mtp_valid);
}

std::span<const TrainBatch> batches_of(std::span<const TrainBatch> batches, int64_t part,
                                       int64_t part_count) {
  const ItemRange range = items_of_part(std::ssize(batches), part, part_count);
  return batches.subspan(static_cast<size_t>(range.begin),
                         static_cast<size_t>(range.end - range.begin));
}

}  // namespace

StepLosses accumulate_batches(std::span<const TrainBatch> batches,
                              const LossCoefficients& coefficients, Learner& learner) {
  const LossOptions options = loss_options(batches, coefficients);
  const PartRange mine = learner.parts();
  std::vector<StepPass> passes;
  for (int64_t p = mine.first; p < mine.first + mine.count; ++p) {
    for (const TrainBatch& batch : batches_of(batches, p, learner.part_count()))
      passes.push_back({input_of(batch), p});
  }
  std::vector<double> own(static_cast<size_t>(mine.count) * kPartSums);
  const auto done = [&](size_t i, const LossResult& result) {
    const auto part = static_cast<size_t>(passes[i].part - mine.first);
    add(result, std::span(own).subspan(part * kPartSums, kPartSums));
  };
  run_passes(passes,
             {.mtp = options.mtp_coefficient != 0,
              .options = [&](size_t) { return options; },
              .done = done},
             learner);
  std::vector<double> sums = sum_over_parts(own, kPartSums, learner.part_count(), learner.group());
  // Each is of one stage, and 0 on the others.
  learner.link().pipeline().all_reduce(std::span(sums), "losses of the stages");
  StepLosses out{.loss = sums[kLoss] / std::max(1.0, sums[kValid]),
                 .mtp = sums[kMtp] / std::max(1.0, sums[kMtpValid]),
                 .balance = sums[kBalance],
                 .mtp_valid = static_cast<int64_t>(sums[kMtpValid])};
  for (const TrainBatch& batch : batches) out.tokens += std::ssize(batch.ids);
  return out;
}

StepReport next_token_step(std::span<const TrainBatch> batches,
                           const LossCoefficients& coefficients, const StepContext& context,
                           Learner& learner) {
  const StepLosses losses = accumulate_batches(batches, coefficients, learner);
  require_finite(losses.loss, "the loss", context.where);
  require_finite(losses.mtp, "the MTP loss", context.where);
  require_finite(losses.balance, "the balance loss", context.where);
  StepUpdates updates;
  updates.update(learner, context);
  StepReport report{.tokens = losses.tokens};
  report.row["loss"] = losses.loss;
  if (losses.mtp_valid > 0) report.row["mtp_loss"] = losses.mtp;
  report.row["balance_loss"] = losses.balance;
  const double largest_cv = updates.add_router_load(learner.config(), report.row);
  report.row["grad_norm"] = updates.mean_gradient_norm();
  const StagePlace& stage = learner.link().place();
  if (stage.count > 1) {
    const int64_t passes = std::ssize(batches) / learner.group().size();
    report.row["ranks/bubble_share"] = bubble_share(stage.count, passes);
  }
  report.note = fmt::format("loss {:.3f}  load cv {:.2f}", losses.loss, largest_cv);
  return report;
}

}  // namespace dure
