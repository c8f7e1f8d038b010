// Counts of the whole step first, so that each micro-batch adds its share; then the update.
#include "train/next_token_step.h"

#include <algorithm>

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

}  // namespace

StepLosses accumulate_batches(std::span<const TrainBatch> batches,
                              const LossCoefficients& coefficients, Learner& learner) {
  const LossOptions options = loss_options(batches, coefficients);
  StepLosses out;
  int64_t valid = 0;
  for (const TrainBatch& batch : batches) {
    if (batch.ids.empty()) continue;
    const LossResult& result = learner.accumulate(input_of(batch), options);
    out.loss += result.loss_sum;
    out.mtp += result.mtp_loss_sum;
    out.balance += result.balance_loss;
    out.mtp_valid += result.mtp_valid;
    out.tokens += std::ssize(batch.ids);
    valid += result.valid;
  }
  out.loss /= static_cast<double>(std::max<int64_t>(1, valid));
  out.mtp /= static_cast<double>(std::max<int64_t>(1, out.mtp_valid));
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
