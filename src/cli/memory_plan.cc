// Sums over the plans of the parts; the longest context and the most rows that fit are found by
// bisection over these sums.
#include "cli/memory_plan.h"

#include <algorithm>

#include "kernels/optimiser.h"
#include "model/load.h"
#include "model/tensors.h"
#include "rl/reference_model.h"

namespace dure {
namespace {

// Nothing but the factors has gradients and moments.
TrainPlan plan_adapter(const ModelConfig& config, const LearnerOptions& options,
                       const AdapterSubject& adapter) {
  TrainPlan plan{.base_bytes = adapter.base.mapped, .base_copied_bytes = adapter.base.copied};
  plan.weight_bytes = AdapterParameters::bytes(config, adapter.layout);
  plan.gradient_bytes = GradientTree::block_count(options.parts) * plan.weight_bytes;
  plan.moment_bytes = 2 * plan.weight_bytes;
  TrainPassOptions pass = options.pass;
  pass.adapter_rank = largest_rank(adapter.layout);
  plan.activation_bytes = TrainPass::bytes(config, pass);
  return plan;
}

}  // namespace

ServePlan plan_serving(const ModelConfig& config, const ModelFiles* files,
                       const GeneratorOptions& options, const Holding& holding) {
  ServePlan plan;
  plan.weight_bytes = files != nullptr ? files->stored_bytes() : count_model(config).bytes_16bit;
  const WeightBytes opened = files != nullptr ? open_weights_bytes(*files, holding)
                                              : WeightBytes{.mapped = plan.weight_bytes};
  plan.mapped_bytes = opened.mapped;
  plan.copied_bytes = opened.copied;
  const KvCachePlan kv = kv_cache_plan(config, kv_cache_options(options));
  plan.ring_bytes = kv.ring_bytes;
  plan.page_bytes = kv.page_bytes * kv.page_count;
  plan.table_bytes = kv.table_bytes;
  plan.token_bytes = kv.page_bytes / KvView::kTokens;
  plan.prefix_bytes = kv.prefix_bytes;
  plan.mtp_kv_bytes = kv.mtp_ring_bytes + kv.mtp_page_bytes * kv.page_count;
  plan.activation_bytes = Generator::plan_bytes(config, options) - kv.total_bytes();
  if (options.draft_tokens_max > 0) {
    GeneratorOptions plain = options;
    plain.draft_tokens_max = 0;
    const int64_t plain_kv = kv_cache_plan(config, kv_cache_options(plain)).total_bytes();
    plan.draft_bytes = plan.activation_bytes - (Generator::plan_bytes(config, plain) - plain_kv);
  }
  return plan;
}

std::optional<int64_t> largest_context(const ModelConfig& config, const ModelFiles* files,
                                       GeneratorOptions options, int64_t memory_bytes) {
  const auto fits = [&](int64_t tokens) {
    options.context_tokens_max = tokens;
    return plan_serving(config, files, options).total_bytes() <= memory_bytes;
  };
  return largest_that(fits, config.context_tokens);
}

TrainPlan plan_training(const ModelConfig& config, const LearnerOptions& options,
                        int64_t thread_count, const AdapterSubject* adapter) {
  if (adapter != nullptr) return plan_adapter(config, options, *adapter);
  TrainPlan plan;
  plan.weight_bytes = Parameters::bytes(config);
  plan.gradient_bytes = GradientTree::block_count(options.parts) * plan.weight_bytes;
  if (options.arithmetic == Arithmetic::kBf16) plan.copy_bytes = Bf16Copies::bytes(config);
  for (const ImpliedTensor& facts : tensor_list(config)) {
    if (!is_trained(options, config, facts)) continue;
    const bool muon = update_rule(options.optimiser, facts.kind) == UpdateRule::kMuon;
    plan.moment_bytes += facts.shape.elements() * 4 * (muon ? 1 : 2);
    if (!muon) continue;
    plan.scratch_bytes =
        std::max(plan.scratch_bytes, 4 * muon_workspace_floats(facts.shape, thread_count));
  }
  plan.activation_bytes = TrainPass::bytes(config, options.pass);
  return plan;
}

std::optional<int64_t> most_rows(const ModelConfig& config, LearnerOptions options,
                                 int64_t thread_count, int64_t memory_bytes,
                                 const AdapterSubject* adapter) {
  const auto fits = [&](int64_t rows) {
    options.pass.rows_max = rows;
    return plan_training(config, options, thread_count, adapter).total_bytes() <= memory_bytes;
  };
  return largest_that(fits, int64_t{1} << 24);
}

RlPlan plan_rl(const ModelConfig& config, const RlConfig& run, const PromptRoom& room,
               int64_t thread_count, const AdapterSubject* adapter) {
  GeneratorOptions engine = rl_generator_options(run, room);
  if (adapter != nullptr) engine.adapter_rank = largest_rank(adapter->layout);
  RlPlan plan;
  plan.learner = plan_training(config, rl_learner_options(run, room), thread_count, adapter);
  plan.kv_bytes = kv_cache_plan(config, kv_cache_options(engine)).total_bytes();
  plan.generator_bytes = Generator::plan_bytes(config, engine) - plan.kv_bytes;
  plan.answer_bytes = (1 + run.async.stale_steps) * rl_answer_bytes(run, room);
  if (run.async.stale_steps > 0) {
    const int64_t copies = run.async.stale_steps;
    plan.sampler_bytes = copies * plan.learner.weight_bytes;
    if (adapter == nullptr) plan.sampler_bytes += plan.learner.copy_bytes;
  }
  // The reference of an adapter is its base, which is counted, with the adapter that it began as.
  if (run.kl.beta > 0 && adapter == nullptr)
    plan.reference_bytes = ReferenceModel::bytes(config, run.train.arithmetic);
  if (run.kl.beta > 0 && adapter != nullptr && !run.lora.from.empty())
    plan.reference_bytes = AdapterParameters::bytes(config, adapter->layout);
  return plan;
}

}  // namespace dure
