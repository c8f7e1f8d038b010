// train/trainer.h: pretraining and fine-tuning as one call: a configuration in, a run folder with
// its model out.
//
// Owns the configuration and its checks. Not here: the order of a run and its folder (run.h), what
// a step computes (next_token_step.h), data (train_data.h), RL (rl/rl_trainer.h).
#pragma once

#include <numeric>
#include <string>

#include "base/options.h"
#include "comm/ranks.h"
#include "data/row_fit.h"
#include "data/sft.h"
#include "data/tasks/mixture.h"
#include "formats/adapter_layout.h"
#include "train/corpora.h"
#include "train/optimiser.h"
#include "train/precision.h"
#include "train/schedule.h"

namespace dure {

struct TrainDataOptions {
  // Prepared folder (docs/data.md). pretrain: its text. sft: its chat-train.jsonl, where there is
  // one (weight 1), and its text where text_weight > 0.
  std::string corpus;
  std::vector<CorpusEntry> corpora;     // instead of `corpus`: several, or files as they are
  BadRows bad_rows = BadRows::kRefuse;  // of `corpora` that are not prepared yet
  double text_weight = 0;   // sft: tokens of the corpus's text, all of them learnt (replay)
  double tasks_weight = 0;  // sft: tokens of generated problems
  int64_t tasks_limit = 0;  // sft: distinct problems before they repeat; 0: never repeated
  TaskMixture tasks;
  TooLong too_long = TooLong::kDrop;                             // sft
  WithoutReasoning without_reasoning = WithoutReasoning::kBoth;  // sft
  template <typename V>
  void visit(V& v) {
    v("corpus", corpus, "prepared corpus folder");
    v("corpora", corpora,
      "instead of it, several with weights and epochs: [{path, weight, epochs, ...}]");
    v("bad_rows", bad_rows,
      "a row of corpora that cannot be used: an error, or left out and counted");
    v("text_weight", text_weight,
      "sft: tokens of the corpus's text against forgetting, relative to its conversations (1)",
      at_least(0));
    v("tasks_weight", tasks_weight,
      "sft: tokens of generated problems, relative to the corpus's conversations (1)", at_least(0));
    v("tasks_limit", tasks_limit, "sft: distinct problems before they repeat (0: without end)",
      at_least(0));
    v("tasks", tasks, "sft: problems to generate");
    v("without_reasoning", without_reasoning,
      "sft: what answers without reasoning follow: the prompt of thinking off, on, or both");
    v("too_long", too_long,
      "sft: conversations longer than a row: left out, cut at its end, or an error");
  }
};

struct TrainBatchOptions {
  int64_t rows = 16;       // B, of the whole step
  int64_t tokens = 256;    // T
  int64_t micro_rows = 0;  // rows of one forward and backward, a divisor of `rows`; 0: all
  int64_t parts = 0;       // of the step's sums, a divisor of the passes; 0: step_parts() decides
  bool recompute = false;
  int64_t rows_together() const { return micro_rows > 0 ? micro_rows : rows; }  // of one pass
  int64_t passes() const { return rows / rows_together(); }
  // 1, 2 or 4, where nothing else is asked for: the largest that divides the passes. Never what
  // ranks there are: the parts fix the order of sums (docs/ranks.md).
  int64_t step_parts() const { return parts > 0 ? parts : std::gcd(passes(), int64_t{4}); }
  template <typename V>
  void visit(V& v) {
    v("rows", rows, "rows of a step", at_least(1));
    v("tokens", tokens, "tokens of a row", at_least(8));
    v("micro_rows", micro_rows,
      "rows of one forward and backward (0: all); no effect on the result beyond rounding",
      at_least(0));
    v("parts", parts,
      "sums that a step's gradient is made of, added as a tree; ranks share them; a divisor of "
      "rows "
      "/ micro_rows (0: 1, 2 or 4 of it)",
      at_least(0));
    v("recompute", recompute, "keep only layer inputs and compute the rest again in the backward");
  }
};

struct TrainLossOptions {
  double mtp_coefficient = 0.05;
  double balance_coefficient = 1e-4;
  double router_bias_rate = 1e-3;
  bool train_router = true;
  template <typename V>
  void visit(V& v) {
    v("mtp_coefficient", mtp_coefficient, "weight of the MTP layer's loss", at_least(0));
    v("balance_coefficient", balance_coefficient, "weight of the sequence balance loss",
      at_least(0));
    v("router_bias_rate", router_bias_rate, "step of the router bias against the load (0: frozen)",
      at_least(0));
    v("train_router", train_router, "move the router's matrix");
  }
};

struct TrainRecordOptions {
  int64_t checkpoint_steps = 50;
  double checkpoint_minutes = 10;
  int64_t keep_last = 2;
  int64_t eval_steps = 0;
  int64_t eval_rows = 16;
  bool tensorboard = true;
  template <typename V>
  void visit(V& v) {
    v("checkpoint_steps", checkpoint_steps, "steps between checkpoints", at_least(1));
    v("checkpoint_minutes", checkpoint_minutes,
      "minutes between checkpoints as well (0: by steps alone)", at_least(0));
    v("keep_last", keep_last, "checkpoints kept", at_least(1));
    v("eval_steps", eval_steps,
      "steps between measurements on held-out data, and at the end (0: never)", at_least(0));
    v("eval_rows", eval_rows, "rows measured, shared by the languages", at_least(1));
    v("tensorboard", tensorboard, "write TensorBoard event files too");
  }
};

// What the targets are: every token, or the assistant's.
enum class TrainStage { kPretrain, kSft };
constexpr auto enum_names(TrainStage) {
  return std::to_array<EnumName<TrainStage>>(
      {{TrainStage::kPretrain, "pretrain"}, {TrainStage::kSft, "sft"}});
}

struct TrainConfig {
  TrainStage stage = TrainStage::kPretrain;
  std::string output;
  std::string init;       // model folder to start from, its tokenizer included; or ...
  std::string tokenizer;  // ... a tokenizer's folder, and `model:` as config.json has it
  int64_t seed = 1;
  int64_t steps = 100;
  int64_t tokens = 0;  // a budget instead of steps: rounded up to whole steps
  TrainDataOptions data;
  TrainBatchOptions batch;
  TrainLossOptions loss;
  PrecisionOptions train;
  LoraOptions lora;
  OptimiserOptions optimiser;
  ScheduleOptions schedule;
  TrainRecordOptions record;
  RankOptions ranks;
  template <typename V>
  void visit(V& v) {
    v("stage", stage, "what the targets are: every token, or the assistant's");
    v("output", output, "folder of the run: metrics, checkpoints, model");
    v("init", init, "model folder to start from");
    v("tokenizer", tokenizer, "folder of the tokenizer, for a new model");
    v("seed", seed, "of the weights and of the data's order");
    v("steps", steps, "optimiser updates (0: until every one of data.corpora has had its epochs)",
      at_least(0));
    v("tokens", tokens, "budget of tokens that decides the steps, where it is above 0",
      at_least(0));
    v("data", data, "what is learnt from");
    v("batch", batch, "how much at a time");
    v("loss", loss, "terms of the loss");
    v("train", train, "how products round");
    v("lora", lora, "an adapter is trained, the model stays as it is stored");
    v("optimiser", optimiser, "how the parameters move");
    v("schedule", schedule, "learning rate over the steps");
    v("record", record, "metrics and checkpoints");
    v("ranks", ranks, "processes that share the work, as a launcher starts them (docs/ranks.md)");
  }
};

// Throws kInvalidArgument where the tokens of a pass, or those of a step, are too many to count;
// `source` names the configuration.
void check_batch(const TrainBatchOptions& batch, const std::string& source);

// Runs to the end, or continues where the folder's last checkpoint stands; a finished run is left
// as it is. `model`: config.json fields of a new model (null with `init`); `source` names the
// configuration in errors. Leaves OUTPUT/model. Throws kInvalidArgument (fields; the folder holds a
// run of another configuration or of other inputs), kInterrupted after saving, kDiverged naming the
// step, and what files get wrong. `world`: all ranks, as many as config.ranks has.
void run_training(const TrainConfig& config, const Json& model, const std::string& source,
                  Group& world = Group::alone());

}  // namespace dure
