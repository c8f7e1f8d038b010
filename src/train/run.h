// train/run.h: the order of a run, whatever it learns from: open or go on, step, record, save,
// leave the model.
//
// Owns the run folder (docs/training.md): config.json, metrics.jsonl, tensorboard/, checkpoints/,
// model/, best.json; its row in the registry (runs/); the check that a folder holds the same run;
// progress, interrupts, and the refusal of weights that are not finite. A Stage owns what is learnt
// and how: pretraining and fine-tuning (next_token_stage.h), reinforcement learning
// (rl/rl_stage.h).
//
// A run is a function of its configuration, inputs and seed: killed at any point and started again,
// it goes on from the last checkpoint to the same bits. A step is a transaction: it is recorded,
// and perhaps saved, when all of it is done. A checkpoint is written beside the next step, and
// committed before that one moves a weight (docs/checkpoint.md). Over ranks (docs/ranks.md) all
// take the same steps, the first of them writes what a folder has once.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include "formats/adapter_layout.h"
#include "train/checkpoint.h"
#include "train/metrics.h"
#include "train/schedule.h"
#include "train/step.h"

namespace dure {

class Stage {
 public:
  virtual ~Stage() = default;

  // The fields that its state depends on and the content of its inputs: what may not change while a
  // run is continued (run_identity.h). Called first.
  virtual Json identity() const = 0;

  // Opens inputs and allocates the learner. `from`: where the stage goes on, in the state that
  // save() left there, and the model it goes on with (configuration and texts: the one that the run
  // started from may be gone); null: a new run, whose first weights the stage sets. The learner's
  // own state is loaded by the run.
  virtual void open(const Checkpoint* from) = 0;

  // What ranks do together once all have opened, before the learner's own state is loaded. `from`:
  // as open() has it.
  virtual void meet(const Checkpoint* from) {}

  // After open().
  virtual Learner& learner() = 0;
  virtual const ModelTexts& texts() const = 0;  // of the model; every checkpoint holds them too

  // One step, its updates included. A function of `context`, the weights and the stage's state
  // alone. May throw kInterrupted before it has changed the learner: the step is given up.
  virtual StepReport step(const StepContext& context) = 0;

  // Adds metrics on data that is never learnt from ("eval_NAME"), where the stage has any.
  virtual void add_heldout(Json& row) {}

  // Adds what open() needs beside the learner's state.
  virtual void save(Json& state) const {}
  // Adds files that open() reads from the checkpoint's folder, by name.
  virtual void save_files(std::map<std::string, std::string>& files) {}
};

struct RunOptions {
  std::string title;  // "pretrain": of the progress line
  Path folder;
  Json config;                     // written to config.json and into checkpoints
  Json defaults = Json::object();  // of its fields
  int64_t steps = 0;
  WsdSchedule schedule;
  int64_t checkpoint_steps = 50;   // >= 1; after the last step always
  double checkpoint_minutes = 10;  // as well; 0: by steps alone
  int64_t keep_last = 2;           // checkpoints kept, >= 1
  // The checkpoint with the highest value of this held-out metric is kept beside the last ones, and
  // named in best.json; empty: none is.
  std::string best_metric;
  int64_t heldout_steps = 0;  // held-out metrics every so many steps and at the end; 0: never
  bool tensorboard = true;
  std::string progress_unit = "steps";
  int64_t progress_per_step = 1;  // units
};

class Run {
 public:
  // Only looks: whether the folder is free, and what it holds. Throws kInvalidArgument (the folder
  // is in use, or holds another run), kCorrupt (its last checkpoint is damaged). `stage` outlives
  // the run. Over ranks every one of them makes its Run and they go the same way; the first keeps
  // the folder.
  Run(RunOptions options, Stage& stage, Mesh& mesh = Mesh::alone());

  // To the end, from where the folder's last checkpoint stands; a finished run is left as it is.
  // Throws kInterrupted after saving (a step that the stage gave up is made anew by who goes on),
  // kDiverged naming the step, and what the stage throws.
  void run();

 private:
  using Clock = std::chrono::steady_clock;

  bool is_finished() const;
  void open();
  void open_stage();
  void open_records();
  void say_continuing() const;
  void take_steps();
  std::string one_step();
  void save_given_up(int64_t steps_before);
  bool is_due_to_save() const;
  enum class Next { kGoOn, kSave, kStop };
  Next next() const;
  void save();
  void finish_saving();
  void add_saving(Json& row);
  void require_finite_weights();
  void note_best(const Json& row);
  void write_best(const Json& best) const;

  RunOptions options_;
  Stage& stage_;
  Mesh& mesh_;
  Group& group_;  // all ranks
  CheckpointStore store_;
  Json identity_;
  std::optional<Checkpoint> checkpoint_;  // what the run goes on from
  std::optional<MetricsLog> metrics_;
  int64_t step_ = 0;    // steps done
  int64_t tokens_ = 0;  // learnt from, over all steps
  struct Best {
    int64_t step = 0;
    double value = 0;
  };
  std::optional<Best> best_;
  bool best_is_new_ = false;  // and not saved yet
  Clock::time_point saved_;
  // A checkpoint, written beside the step that follows.
  struct Saving {
    double pause_s = 0;  // the run waited for it
    double write_s = 0;  // known when it is committed
    Json best;           // of best.json, which follows it; null: as it is
  };
  std::optional<Saving> saving_, saved_last_;  // under way; committed, not in the metrics yet
};

// Throws kNotFound where neither the model that a run starts from is there nor a checkpoint in
// `folder` to go on from; of a run that begins with an adapter what is wrong with that one for the
// model. Before the folder is made.
void require_init(const std::string& init, const LoraOptions& lora, const Path& folder);

}  // namespace dure
