// Counts of the whole step first, so that each micro-batch adds its share; then part by part, what
// the parts of all ranks come to, and the update.
#include "train/next_token_step.h"

#include <algorithm>
#include <array>
#include <vector>

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
using PartSums = std::array<double, kPartSums>;
static_assert(kPartSums == kPartSumCount);

PartSums accumulate_part(std::span<const TrainBatch> batches, const LossOptions& options,
                         Learner& learner) {
  PartSums out{};
  for (const TrainBatch& batch : batches) {
    if (batch.ids.empty()) continue;
    const LossResult& result = learner.accumulate(input_of(batch), options);
    out[kLoss] += result.loss_sum;
    out[kMtp] += result.mtp_loss_sum;
    out[kBalance] += result.balance_loss;
    out[kValid] += static_cast<double>(result.valid);
    out[kMtpValid] += static_cast<double>(result.mtp_valid);
  }
  return out;
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
  std::vector<double> own;
  for (int64_t p = mine.first; p < mine.first + mine.count; ++p) {
    if (p > mine.first) learner.next_part();
    const PartSums part =
        accumulate_part(batches_of(batches, p, learner.part_count()), options, learner);
    own.insert(own.end(), part.begin(), part.end());
  }
  const std::vector<double> sums =
      sum_over_parts(own, kPartSums, learner.part_count(), learner.group());
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
  report.note = fmt::format("loss {:.3f}  load cv {:.2f}", losses.loss, largest_cv);
  return report;
}

}  // namespace dure
