// Checks of a training configuration, and its run.
#include "train/trainer.h"

#include "base/error.h"
#include "base/log.h"
#include "model/train_pass.h"
#include "train/next_token_stage.h"
#include "train/run.h"

namespace dure {
namespace {

// Tokens of a step; more would not be a step.
constexpr int64_t kStepTokensMax = int64_t{1} << 40;

void check_ranks(const TrainConfig& config, const std::string& source) {
  const int64_t passes = config.batch.passes(), ranks = config.ranks.shape().batch();
  if (passes % config.batch.step_parts() != 0) {
    fail(ErrorCode::kInvalidArgument,
         "{}: batch.parts is {}, which does not divide the {} passes of a step (batch.rows / "
         "batch.micro_rows)",
         source, config.batch.parts, passes);
  }
  const std::string hint =
      passes >= ranks ? fmt::format("set batch.parts to {}, whatever the number of ranks", ranks)
                      : fmt::format(
                            "set batch.micro_rows to {} or a divisor of it, whatever the "
                            "number of ranks",
                            std::max<int64_t>(1, config.batch.rows / ranks));
  check_parts(config.ranks.shape(), config.batch.step_parts(), source, "batch.parts", hint);
}

void check(const TrainConfig& config, const Json& model, const std::string& source) {
  const auto refuse = [&](const char* what) {
    fail(ErrorCode::kInvalidArgument, "{}: {}", source, what);
  };
  if (config.output.empty()) refuse("output is empty: name the folder of the run");
  if (config.init.empty() && !model.is_object())
    refuse("neither init nor model is given: name a model folder, or describe a new model");
  if (!config.init.empty() && !model.is_null())
    refuse("init and model are both given: a model that exists has its own architecture");
  if (config.init.empty() && config.tokenizer.empty())
    refuse("tokenizer is empty: a new model needs one (`dure tokenizer train`)");
  if (config.batch.micro_rows > 0 && config.batch.rows % config.batch.micro_rows != 0)
    refuse("batch.rows is no multiple of batch.micro_rows");
  if (!config.data.corpora.empty()) {
    if (!config.data.corpus.empty())
      refuse(
          "data.corpus and data.corpora are both given: make the corpus an entry of data.corpora");
    if (config.data.text_weight > 0)
      refuse(
          "data.text_weight is of data.corpus: give the texts an entry of data.corpora (part: "
          "text, "
          "weight)");
  }
  check_lora(config.lora, source);
  check_batch(config.batch, source);
  check_ranks(config, source);
  if (config.stage == TrainStage::kSft) check_mixture(config.data.tasks, source + ": data.tasks");
}

// Of a run that is to begin: one that goes on has it in its checkpoint.
void require_tokenizer(const TrainConfig& config, const std::string& source) {
  const Path checkpoints = Path(config.output) / "checkpoints";
  if (path_exists(checkpoints) && latest_checkpoint(checkpoints)) return;
  if (!path_exists(config.tokenizer)) {
    fail(ErrorCode::kNotFound,
         "{}: tokenizer: no file or folder {} (`dure tokenizer train` makes one)", source,
         config.tokenizer);
  }
}

// Of steps, a budget of tokens, or the epochs of all corpora, which the others may not exceed.
int64_t steps_of(const TrainConfig& config, NextTokenStage& stage, const std::string& source) {
  const int64_t step_tokens = config.batch.rows * config.batch.tokens;
  const int64_t wanted =
      config.tokens > 0 ? (config.tokens + step_tokens - 1) / step_tokens : config.steps;
  const std::optional<int64_t> epochs = stage.epoch_steps();
  if (wanted == 0 && !epochs)
    fail(ErrorCode::kInvalidArgument,
         "{}: steps is 0, until every corpus has had its epochs: that takes data.corpora with "
         "epochs "
         "above 0 in each entry, and nothing that never ends (data.tasks_weight)",
         source);
  if (epochs && *epochs == 0)
    fail(ErrorCode::kInvalidArgument,
         "{}: no document of data.corpora fits a row of {} tokens: raise batch.tokens", source,
         config.batch.tokens);
  if (epochs && wanted > *epochs)
    fail(ErrorCode::kInvalidArgument,
         "{}: {} steps are more than the {} that the epochs of data.corpora last: raise epochs, or "
         "set steps to 0",
         source, wanted, *epochs);
  if (wanted == 0) log_info("{} steps: the epochs of data.corpora", *epochs);
  return wanted > 0 ? wanted : *epochs;
}

RunOptions run_options(const TrainConfig& config, int64_t steps) {
  const int64_t step_tokens = config.batch.rows * config.batch.tokens;
  return {
      .title = name_of(config.stage),
      .folder = config.output,
      .config = to_json(config),
      .defaults = to_json(TrainConfig{}),
      .steps = steps,
      .schedule = make_schedule(config.schedule, config.optimiser.learning_rate, steps),
      .checkpoint_steps = config.record.checkpoint_steps,
      .checkpoint_minutes = config.record.checkpoint_minutes,
      .keep_last = config.record.keep_last,
      .heldout_steps = config.record.eval_steps,
      .tensorboard = config.record.tensorboard,
      .progress_unit = "tokens",
      .progress_per_step = step_tokens,
  };
}

}  // namespace

void check_batch(const TrainBatchOptions& batch, const std::string& source) {
  pass_rows(batch.rows_together(), batch.tokens,
            source + (batch.micro_rows > 0 ? ": batch.micro_rows x batch.tokens"
                                           : ": batch.rows x batch.tokens"));
  if (batch.rows > kStepTokensMax / batch.tokens) {
    fail(ErrorCode::kInvalidArgument,
         "{}: batch.rows x batch.tokens: {} x {} is more than the 2^40 tokens that one step may "
         "have; ask for fewer",
         source, batch.rows, batch.tokens);
  }
}

void run_training(const TrainConfig& config, const Json& model, const std::string& source,
                  Group& world) {
  check(config, model, source);
  if (config.init.empty()) {
    require_tokenizer(config, source);
  } else {
    require_init(config.init, config.lora, config.output);
  }
  TrainConfig resolved = config;
  const auto prepare = [&] {
    resolved.data.corpora = prepared_corpora(config.data.corpora, config.data.bad_rows,
                                             Path(config.output) / "cache", source);
  };
  world.together("preparation of corpora", [&] {
    if (world.is_first()) prepare();
  });
  if (!world.is_first()) prepare();  // As the first one left them.
  Mesh mesh(world, config.ranks.shape());
  NextTokenStage stage(resolved, model, source, mesh);
  const RunOptions options = run_options(config, steps_of(resolved, stage, source));
  Run(options, stage, mesh).run();
}

}  // namespace dure
