// rl/prefer_trainer.h: preference learning as one call: a configuration in, a run folder with its
// model out.
//
// Owns the configuration and its checks. A step (preference_step.h): draw items, log-probabilities
// of their responses, the objective's loss, one update. The router is frozen (matrix and bias) and
// the MTP layer is not trained, as in reinforcement learning. Not here: the order of a run
// (train/run.h), losses (preference.h), files (data/preference_data.h). docs/preferences.md.
#pragma once

#include <string>

#include "comm/ranks.h"
#include "data/preference_data.h"
#include "formats/adapter_layout.h"
#include "rl/preference.h"
#include "train/optimiser.h"
#include "train/precision.h"
#include "train/schedule.h"

namespace dure {

struct PreferRecordOptions {
  int64_t checkpoint_steps = 50;
  double checkpoint_minutes = 10;
  int64_t keep_last = 2;
  int64_t eval_steps = 0;
  int64_t eval_items = 64;
  bool tensorboard = true;
  template <typename V>
  void visit(V& v) {
    v("checkpoint_steps", checkpoint_steps, "steps between checkpoints", at_least(1));
    v("checkpoint_minutes", checkpoint_minutes,
      "minutes between checkpoints as well (0: by steps alone)", at_least(0));
    v("keep_last", keep_last, "checkpoints kept", at_least(1));
    v("eval_steps", eval_steps,
      "steps between measurements on held-out prompts, and at the end (0: never)", at_least(0));
    v("eval_items", eval_items, "held-out items measured, the first ones", at_least(1));
    v("tensorboard", tensorboard, "write TensorBoard event files too");
  }
};

struct PreferConfig {
  std::string init;    // model folder to start from: the reference model too
  std::string output;  // run folder
  int64_t seed = 1;
  int64_t steps = 100;
  int64_t items_per_step = 16;
  int64_t micro_rows_max = 4096;  // tokens of one forward and backward
  int64_t parts = 1;              // of a step's sums, over all ranks
  RankOptions ranks;
  PreferenceDataOptions data;
  PreferenceOptions objective;
  PrecisionOptions train;
  LoraOptions lora;
  OptimiserOptions optimiser{.learning_rate = 1e-6, .weight_decay = 0};
  ScheduleOptions schedule{.warmup_steps = 5, .decay_fraction = 0};
  PreferRecordOptions record;

  template <typename V>
  void visit(V& v) {
    v("init", init, "model folder to start from; the reference model too");
    v("output", output, "folder of the run: metrics, checkpoints, model");
    v("seed", seed, "of the data's order");
    v("steps", steps, "optimiser updates", at_least(1));
    v("items_per_step", items_per_step, "pairs (grouper: groups, kto: responses) of a step",
      between(1, 1 << 20));
    v("micro_rows_max", micro_rows_max,
      "tokens of one forward and backward, or the longest pair's where that has more; no effect on "
      "the result beyond rounding",
      between(64, int64_t{1} << 31));
    v("parts", parts,
      "sums that a step's gradient is made of, added as a tree; ranks share them (docs/ranks.md)",
      between(1, 65536));
    v("ranks", ranks, "processes that share the work, as a launcher starts them (docs/ranks.md)");
    v("data", data, "what is compared");
    v("objective", objective, "how responses are compared");
    v("train", train, "how products round");
    v("lora", lora, "an adapter is trained, the model stays as it is stored");
    v("optimiser", optimiser, "how the parameters move");
    v("schedule", schedule, "learning rate over the steps");
    v("record", record, "metrics and checkpoints");
  }
};

// Throws kInvalidArgument naming a field that is empty or wrong, before anything is opened.
void check_prefer(const PreferConfig& config);

// A line for each setting that does nothing as the others stand.
std::vector<std::string> idle_settings(const PreferConfig& config);

// Runs to the end, or continues where the folder's last checkpoint stands; a finished run is left
// as it is. Leaves OUTPUT/model (a Hugging Face folder). Throws kInterrupted after saving,
// kDiverged naming the step, and whatever files and options get wrong.
void run_prefer(const PreferConfig& config, Group& group = Group::alone());

}  // namespace dure
